"""Why runs are not stacked, found by trying: two steps of two runs, together and alone."""

import hashlib
import math
import random
import re
from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from runlab.config.messages import user_message
from runlab.memory import is_out_of_memory
from runlab.stacks.alone import (
    backward_of,
    copy_member,
    flatten_parameters,
    loss_step_of,
    take_steps_alone,
)
from runlab.stacks.attributes import own_attributes, plain_attributes, surroundings
from runlab.stacks.process_state import rng_unchanged
from runlab.stacks.stack import Stack
from runlab.stacks.step_request import Member, StepRequest

LEARNING_RATES = ((0.01, 0.004), (0.02, 0.03))  # [runs, steps]
TOLERANCE = {torch.float64: 1e-6}
SINGLE_TOLERANCE = 1e-2  # Adam's first step turns rounding into whole steps


def check_equivalence(requests: Sequence[StepRequest]) -> tuple[str | None, bool]:
    """Why these runs cannot be stacked (None if they can), and whether a step draws at random.

    All is tried on copies: the runs are left as they are. Raises what tells of too little memory.
    """
    device, first = requests[0].inputs.device, copy_member(requests[0].member)
    if type(first.optimizer) is not type(requests[0].member.optimizer):
        return "its optimizer is not what its configuration makes", False
    with rng_unchanged(device), torch.autocast(device.type, enabled=False):
        if changed := find_side_effect(requests[0], first):
            return f"a training step changes {changed}", False
        before = rng_states(device)
        try:
            stack = Stack([copy_member(request.member) for request in requests])
            stack.operations.gradients(stack.parameters, stack.fixed, *first_batches(requests))
        except Exception as error:
            if is_out_of_memory(error):
                raise
            return f"torch.vmap cannot take its network or loss ({first_line(error)})", False
        draws = not all(map(torch.equal, before, rng_states(device)))
        return find_difference(requests[:2]), draws


def rng_states(device: torch.device) -> list[Tensor]:
    of_device = [torch.cuda.get_rng_state(device)] if device.type == "cuda" else []
    return [torch.get_rng_state(), *of_device]


def find_side_effect(request: StepRequest, member: Member) -> str | None:
    """What a step of a copy changes besides random draws of PyTorch; None if it changes nothing."""
    generators = random.getstate(), np.random.get_state()
    before = state_of(request, member)
    try:
        with torch.no_grad(), data_unchanged(request):
            inputs, targets = request.batch(0)
            loss_step_of(request, member)((member.prepare_inputs(inputs), targets), None)
            after = state_of(request, member)
        drawn = repr((random.getstate(), np.random.get_state())) != repr(generators)
    finally:
        random.setstate(generators[0])
        np.random.set_state(generators[1])
    return "Python's or NumPy's random generator" if drawn else find_change(before, after)


def state_of(request: StepRequest, member: Member) -> dict[str, Any]:
    """Buffers, and attributes as text, of a copy's modules and of its data, by readable names.

    So are the plain values that their classes and those classes' modules hold.
    """
    parts = {"network": member.network, "loss": member.loss}
    values: dict[str, Any] = {}
    for part, module in parts.items():
        values |= {f"its {part}'s {k}": buffer.clone() for k, buffer in module.named_buffers()}
        for path, each in module.named_modules():
            values |= attributes_of(f"its {part}'s {path}.".replace(" .", " "), each)
    values |= {f"its data's {k}": key for k, key in plain_attributes(request.data).items()}
    return values | surroundings(request.module)


def attributes_of(place: str, module: nn.Module) -> dict[str, str]:
    return {
        place + name: without_addresses(repr(comparable(value)))
        for name, value in own_attributes(module).items()
    }


def find_change(before: dict[str, Any], after: dict[str, Any]) -> str | None:
    """The first name whose value is another one, or was none."""
    for name, value in after.items():
        old = before.get(name)
        if not (torch.equal(old, value) if isinstance(old, Tensor) else old == value):
            return name
    return None


@contextmanager
def data_unchanged(request: StepRequest) -> Iterator[None]:
    """Leaves the run's data module, of which there is no copy, with the attributes that it has."""
    attributes = vars(request.data)
    before = dict(attributes)
    try:
        yield
    finally:
        attributes.clear()
        attributes.update(before)


def preparation_key(request: StepRequest) -> Hashable:
    """Equal for runs that make the same network inputs of the same bytes."""
    shape, dtype, device = request.inputs.shape[1:], request.inputs.dtype, request.inputs.device
    probe = (torch.arange(math.prod(shape), device=device) % 256).view(shape).to(dtype)
    with rng_unchanged(device), data_unchanged(request):
        torch.manual_seed(0)
        prepared = request.member.prepare_inputs(probe)
    content = prepared.cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes()
    return prepared.dtype, prepared.shape, hashlib.sha256(content).hexdigest()


def first_batches(requests: Sequence[StepRequest]) -> tuple[Tensor, Tensor]:
    """Inputs and targets [runs, batch, ...]."""
    inputs, targets = zip(*(request.batch(0) for request in requests), strict=True)
    return torch.stack(inputs), torch.stack(targets)


def find_difference(requests: Sequence[StepRequest]) -> str | None:
    """Why two runs differ together and alone, with dropout off; None if they do not."""
    dtype = torch.float64
    try:
        alone = [*map(partial(steps_alone, dtype=dtype), requests, LEARNING_RATES)]
    except Exception as error:  # a device or a network without double precision
        if is_out_of_memory(error):
            raise
        dtype = prepared_batch(requests[0], 0)[0].dtype
        alone = [*map(partial(steps_alone, dtype=dtype), requests, LEARNING_RATES)]
    try:
        together = steps_together(requests, dtype)
    except Exception as error:
        if is_out_of_memory(error):
            raise
        return f"its optimizer cannot step several runs at once ({first_line(error)})"
    tolerance = TOLERANCE.get(dtype, SINGLE_TOLERANCE)
    for request, mine, ours in zip(requests, alone, together, strict=True):
        start = flatten_parameters(copy_member(request.member, dtype))
        if not (mine - ours).norm() <= tolerance * (mine - start).norm():
            return (
                "its steps come out differently (is its optimizer's step not linear in the rate?)"
            )
    return None


def steps_alone(
    request: StepRequest, learning_rates: Sequence[float], dtype: torch.dtype
) -> Float[Tensor, " parameters"]:
    member = without_dropout(copy_member(request.member, dtype))
    backward = backward_of(request, member)
    batches = batches_of(request, dtype)
    return take_steps_alone(member, batches, learning_rates, backward).parameters


def steps_together(
    requests: Sequence[StepRequest], dtype: torch.dtype
) -> list[Float[Tensor, " parameters"]]:
    members = [without_dropout(copy_member(request.member, dtype)) for request in requests]
    batches = [batches_of(request, dtype) for request in requests]
    inputs, targets = (
        [torch.stack([each[part] for each in of_run]) for of_run in batches] for part in (0, 1)
    )
    stack = Stack(members)
    stack.take_steps(inputs, targets, torch.tensor(LEARNING_RATES, dtype=torch.float64))
    stack.write_back()
    return [flatten_parameters(member) for member in members]


def without_dropout(member: Member) -> Member:
    member.network.eval()
    return member


def batches_of(request: StepRequest, dtype: torch.dtype) -> list[tuple[Tensor, Tensor]]:
    return [prepared_batch(request, step, dtype) for step in range(len(LEARNING_RATES[0]))]


def prepared_batch(
    request: StepRequest, step: int, dtype: torch.dtype | None = None
) -> tuple[Tensor, Tensor]:
    """One step's inputs, ready for the network and in that precision, and its targets."""
    inputs, targets = request.batch(min(step, len(request.targets) - 1))
    inputs = request.member.prepare_inputs(inputs)
    return inputs.to(dtype) if inputs.is_floating_point() else inputs, targets


def comparable(value: Any) -> Any:
    """A tensor as a list: its `repr` would be shortened."""
    return value.tolist() if isinstance(value, Tensor) else value


def without_addresses(text: str) -> str:
    """A `repr` that does not tell where in memory an object lies."""
    return re.sub(" at 0x[0-9a-fA-F]+", "", text)


def first_line(error: Exception) -> str:
    return user_message(error).partition(". ")[0]
