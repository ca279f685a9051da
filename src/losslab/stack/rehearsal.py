"""Two steps of two runs on copies, together and alone: whether it comes to the same."""

import copy
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_

from losslab.errors import sentence
from losslab.stack.block import Block
from losslab.stack.member import Member
from losslab.stack.stack import Stack

RATES = ((0.01, 0.004), (0.02, 0.03))  # [runs, steps]
TOLERANCE = {torch.float64: 1e-6}
COARSE = 1e-2  # in single precision, where Adam's first step turns rounding into whole steps


def rehearse(blocks: Sequence[Block]) -> tuple[str | None, bool]:
    """Why these runs cannot be computed together, and whether a step draws random numbers.

    None if they can. Leaves them as they are.
    """
    device = blocks[0].images.device
    with (
        torch.random.fork_rng(devices=[device] if device.type == "cuda" else []),
        torch.autocast(device.type, enabled=False),
    ):
        if changed := changed_buffers(blocks[0]):
            return f"a training step changes its network's {changed[0]}", False
        before = torch.get_rng_state()
        try:
            Stack([copied(block.member) for block in blocks]).gradients(*first_batches(blocks))
        except torch.OutOfMemoryError:
            raise
        except Exception as error:
            return f"torch.vmap cannot take its network or loss ({first_line(error)})", False
        draws = not torch.equal(before, torch.get_rng_state())
        return difference(blocks[:2]), draws


def changed_buffers(block: Block) -> list[str]:
    network = copy.deepcopy(block.member.network)
    before = {name: buffer.clone() for name, buffer in network.named_buffers()}
    with torch.no_grad():
        network(block.images[0])
    after = dict(network.named_buffers())
    return [name for name in before if not torch.equal(before[name], after[name])]


def first_batches(blocks: Sequence[Block]) -> tuple[Tensor, Tensor]:
    """Images and labels [runs, batch, ...]."""
    images = torch.stack([block.images[0] for block in blocks])
    return images, torch.stack([block.labels[0] for block in blocks])


def difference(blocks: Sequence[Block]) -> str | None:
    """What keeps the two from being the same, without random draws."""
    dtype = torch.float64
    try:
        alone = [
            steps_alone(block, rates, dtype) for block, rates in zip(blocks, RATES, strict=True)
        ]
    except Exception:  # a device or a network without double precision
        dtype = blocks[0].images.dtype
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
    network, loss, optimizer, _, clip = member = copied(block.member, dtype, training=False)
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
    Stack(members).take(images, labels, torch.tensor(RATES, dtype=torch.float64))
    return [flat(member) for member in members]


def copied(member: Member, dtype: torch.dtype | None = None, training: bool = True) -> Member:
    """A copy with a new optimizer of the same settings."""
    network: nn.Module = copy.deepcopy(member.network).to(dtype=dtype).train(training)
    loss: nn.Module = copy.deepcopy(member.loss).to(dtype=dtype)
    optimizer = member.make(network.parameters())
    return Member(network, loss, optimizer, member.make, member.clip)


def batch(block: Block, step: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    step = min(step, len(block.labels) - 1)
    images = block.images[step]
    return images.to(dtype) if images.is_floating_point() else images, block.labels[step]


def flat(member: Member) -> Float[Tensor, " parameters"]:
    return torch.cat([p.detach().flatten() for p in member.trained.values()])


def first_line(error: Exception) -> str:
    return sentence(error).partition(". ")[0]
