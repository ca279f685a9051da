"""Why runs are not stacked, found by trying: two steps of two runs, together and alone."""

import copy
import random
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_

from runlab.config.messages import user_message
from runlab.stacks.process_state import rng_unchanged
from runlab.stacks.stack import Stack
from runlab.stacks.step_request import Member, StepRequest, comparable, without_addresses

LEARNING_RATES = ((0.01, 0.004), (0.02, 0.03))  # [runs, steps]
TOLERANCE = {torch.float64: 1e-6}
SINGLE_TOLERANCE = 1e-2  # Adam's first step turns rounding into whole steps


def check_equivalence(requests: Sequence[StepRequest]) -> tuple[str | None, bool]:
    """Why these runs cannot be stacked (None if they can), and whether a step draws at random.

    All is tried on copies: the runs are left as they are.
    """
    device = requests[0].inputs.device
    with rng_unchanged(device), torch.autocast(device.type, enabled=False):
        if changed := find_side_effect(requests[0]):
            return f"a training step changes {changed}", False
        before = torch.get_rng_state()
        try:
            stack = Stack([copy_member(request.member) for request in requests])
            stack.operations.gradients(stack.parameters, stack.fixed, *first_batches(requests))
        except torch.OutOfMemoryError:
            raise
        except Exception as error:
            return f"torch.vmap cannot take its network or loss ({first_line(error)})", False
        draws = not torch.equal(before, torch.get_rng_state())
        return find_difference(requests[:2]), draws


def find_side_effect(request: StepRequest) -> str | None:
    """What a forward pass changes besides random draws of PyTorch; None if it changes nothing."""
    member = copy_member(request.member)
    generators = random.getstate(), np.random.get_state()
    before = state_of(member.network, "network"), state_of(member.loss, "loss")
    try:
        with torch.no_grad():
            inputs, targets = request.batch(0)
            member.loss(member.network(member.prepare_inputs(inputs)), targets)
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
    """Buffers and plain attributes of a module and its submodules, as text, by readable names."""
    values: dict[str, Any] = dict(module.named_buffers())
    for path, each in module.named_modules():
        for key, value in vars(each).items():
            if key not in ("_parameters", "_buffers", "_modules"):
                values[f"{path}.{key}".lstrip(".")] = value
    return {
        f"its {name}'s {key}": without_addresses(repr(comparable(value)))
        for key, value in values.items()
    }


def first_batches(requests: Sequence[StepRequest]) -> tuple[Tensor, Tensor]:
    """Inputs and targets [runs, batch, ...]."""
    inputs, targets = zip(*(request.batch(0) for request in requests), strict=True)
    return torch.stack(inputs), torch.stack(targets)


def find_difference(requests: Sequence[StepRequest]) -> str | None:
    """Why two runs differ together and alone, with dropout off; None if they do not."""
    dtype = torch.float64
    try:
        alone = [*map(partial(take_steps_alone, dtype=dtype), requests, LEARNING_RATES)]
    except Exception:  # a device or a network without double precision
        dtype = prepared_batch(requests[0], 0)[0].dtype
        alone = [*map(partial(take_steps_alone, dtype=dtype), requests, LEARNING_RATES)]
    try:
        together = take_steps_together(requests, dtype)
    except Exception as error:
        return f"its optimizer cannot step several runs at once ({first_line(error)})"
    tolerance = TOLERANCE.get(dtype, SINGLE_TOLERANCE)
    for request, mine, ours in zip(requests, alone, together, strict=True):
        start = flatten_parameters(copy_member(request.member, dtype))
        if not (mine - ours).norm() <= tolerance * (mine - start).norm():
            return (
                "its steps come out differently (is its optimizer's step not linear in the rate?)"
            )
    return None


def take_steps_alone(
    request: StepRequest, learning_rates: Sequence[float], dtype: torch.dtype
) -> Float[Tensor, " parameters"]:
    _, network, loss, optimizer, _, clip = member = copy_member(
        request.member, dtype, training=False
    )
    for step, learning_rate in enumerate(learning_rates):
        optimizer.param_groups[0]["lr"] = learning_rate
        optimizer.zero_grad()
        inputs, targets = prepared_batch(request, step, dtype)
        loss(network(inputs), targets).backward()
        if clip is not None:
            clip_grad_norm_(network.parameters(), clip)
        optimizer.step()
    return flatten_parameters(member)


def take_steps_together(
    requests: Sequence[StepRequest], dtype: torch.dtype
) -> list[Float[Tensor, " parameters"]]:
    members = [copy_member(request.member, dtype, training=False) for request in requests]
    batches = [
        [prepared_batch(request, step, dtype) for step in range(len(LEARNING_RATES[0]))]
        for request in requests
    ]
    inputs, targets = (
        [torch.stack([each[part] for each in of_run]) for of_run in batches] for part in (0, 1)
    )
    stack = Stack(members)
    stack.take_steps(inputs, targets, torch.tensor(LEARNING_RATES, dtype=torch.float64))
    stack.write_back()
    return [flatten_parameters(member) for member in members]


def copy_member(member: Member, dtype: torch.dtype | None = None, training: bool = True) -> Member:
    """A copy with a new optimizer of the same settings."""
    network: nn.Module = copy.deepcopy(member.network).to(dtype=dtype).train(training)
    loss: nn.Module = copy.deepcopy(member.loss).to(dtype=dtype)
    optimizer = member.make_optimizer(network.parameters())
    return member._replace(network=network, loss=loss, optimizer=optimizer)


def prepared_batch(
    request: StepRequest, step: int, dtype: torch.dtype | None = None
) -> tuple[Tensor, Tensor]:
    """One step's inputs, ready for the network and in that precision, and its targets."""
    inputs, targets = request.batch(min(step, len(request.targets) - 1))
    inputs = request.member.prepare_inputs(inputs)
    return inputs.to(dtype) if inputs.is_floating_point() else inputs, targets


def flatten_parameters(member: Member) -> Float[Tensor, " parameters"]:
    return torch.cat([p.detach().flatten() for p in member.trained.values()])


def first_line(error: Exception) -> str:
    return user_message(error).partition(". ")[0]
