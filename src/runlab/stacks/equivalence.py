"""Two steps of two runs on copies, together and alone: whether it comes to the same."""

import copy
import random
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_

from runlab.config.messages import user_message
from runlab.stacks.member import Member, plain, without_addresses
from runlab.stacks.process_state import draws_undone
from runlab.stacks.stack import Stack
from runlab.stacks.step_request import Block

RATES = ((0.01, 0.004), (0.02, 0.03))  # [runs, steps]
TOLERANCE = {torch.float64: 1e-6}
COARSE = 1e-2  # in single precision, where Adam's first step turns rounding into whole steps


def rehearse(blocks: Sequence[Block]) -> tuple[str | None, bool]:
    """Why these runs cannot be computed together, and whether a step draws random numbers.

    None if they can. Leaves them as they are.
    """
    device = blocks[0].images.device
    with (
        draws_undone(device),
        torch.autocast(device.type, enabled=False),
    ):
        if changed := changed_by_a_step(blocks[0]):
            return f"a training step changes {changed}", False
        before = torch.get_rng_state()
        try:
            stack = Stack([copied(block.member) for block in blocks])
            stack.operations.gradients(stack.parameters, stack.fixed, *first_batches(blocks))
        except torch.OutOfMemoryError:
            raise
        except Exception as error:
            return f"torch.vmap cannot take its network or loss ({first_line(error)})", False
        draws = not torch.equal(before, torch.get_rng_state())
        return difference(blocks[:2]), draws


def changed_by_a_step(block: Block) -> str | None:
    """What besides parameters is not the same after a step forward; None if nothing is."""
    member = copied(block.member)
    generators = random.getstate(), np.random.get_state()
    before = state_of(member.network, "network"), state_of(member.loss, "loss")
    try:
        with torch.no_grad():
            images, labels = block.batch(0)
            member.loss(member.network(member.prepared(images)), labels)
        drawn = repr((random.getstate(), np.random.get_state())) != repr(generators)
    finally:
        random.setstate(generators[0])
        np.random.set_state(generators[1])
    after = state_of(member.network, "network"), state_of(member.loss, "loss")
    changed = [key for old, new in zip(before, after, strict=True) for key in new
               if old.get(key) != new[key]]  # fmt: skip
    if drawn:
        return "Python's or NumPy's random generator"
    return changed[0] if changed else None


def state_of(module: nn.Module, name: str) -> dict[str, str]:
    """Buffers and plain attributes of a module and all within it, as text, by names to be read."""
    values: dict[str, Any] = dict(module.named_buffers())
    for path, each in module.named_modules():
        for key, value in vars(each).items():
            if key not in ("_parameters", "_buffers", "_modules"):
                values[f"{path}.{key}".lstrip(".")] = value
    return {
        f"its {name}'s {key}": without_addresses(repr(plain(value)))
        for key, value in values.items()
    }


def first_batches(blocks: Sequence[Block]) -> tuple[Tensor, Tensor]:
    """Images and labels [runs, batch, ...]."""
    images, labels = zip(*(block.batch(0) for block in blocks), strict=True)
    return torch.stack(images), torch.stack(labels)


def difference(blocks: Sequence[Block]) -> str | None:
    """What keeps the two from being the same, without random draws."""
    dtype = torch.float64
    try:
        alone = [
            steps_alone(block, rates, dtype) for block, rates in zip(blocks, RATES, strict=True)
        ]
    except Exception:  # a device or a network without double precision
        dtype = batch(blocks[0], 0)[0].dtype
        alone = [
            steps_alone(block, rates, dtype) for block, rates in zip(blocks, RATES, strict=True)
        ]
    try:
        together = steps_together(blocks, dtype)
    except Exception as error:
        return f"its optimizer cannot step several runs at once ({first_line(error)})"
    for block, mine, ours in zip(blocks, alone, together, strict=True):
        start = flat(copied(block.member, dtype))
        if not (mine - ours).norm() <= TOLERANCE.get(dtype, COARSE) * (mine - start).norm():
            return (
                "its steps come out differently (is its optimizer's step not linear in the rate?)"
            )
    return None


def steps_alone(
    block: Block, rates: Sequence[float], dtype: torch.dtype
) -> Float[Tensor, " parameters"]:
    _, network, loss, optimizer, _, clip = member = copied(block.member, dtype, training=False)
    for step, rate in enumerate(rates):
        optimizer.param_groups[0]["lr"] = rate
        optimizer.zero_grad()
        images, labels = batch(block, step, dtype)
        loss(network(images), labels).backward()
        if clip is not None:
            clip_grad_norm_(network.parameters(), clip)
        optimizer.step()
    return flat(member)


def steps_together(
    blocks: Sequence[Block], dtype: torch.dtype
) -> list[Float[Tensor, " parameters"]]:
    members = [copied(block.member, dtype, training=False) for block in blocks]
    batches = [[batch(block, step, dtype) for step in range(len(RATES[0]))] for block in blocks]
    images, labels = (
        [torch.stack([each[part] for each in of_run]) for of_run in batches] for part in (0, 1)
    )
    stack = Stack(members)
    stack.take(images, labels, torch.tensor(RATES, dtype=torch.float64))
    stack.publish()
    return [flat(member) for member in members]


def copied(member: Member, dtype: torch.dtype | None = None, training: bool = True) -> Member:
    """A copy with a new optimizer of the same settings."""
    network: nn.Module = copy.deepcopy(member.network).to(dtype=dtype).train(training)
    loss: nn.Module = copy.deepcopy(member.loss).to(dtype=dtype)
    optimizer = member.make(network.parameters())
    return Member(member.prepared, network, loss, optimizer, member.make, member.clip)


def batch(block: Block, step: int, dtype: torch.dtype | None = None) -> tuple[Tensor, Tensor]:
    """Of a step, images ready for the network, in that precision."""
    images, labels = block.batch(min(step, len(block.labels) - 1))
    images = block.member.prepared(images)
    return images.to(dtype) if images.is_floating_point() else images, labels


def flat(member: Member) -> Float[Tensor, " parameters"]:
    return torch.cat([p.detach().flatten() for p in member.trained.values()])


def first_line(error: Exception) -> str:
    return user_message(error).partition(". ")[0]
