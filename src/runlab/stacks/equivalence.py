"""Why runs are not stacked, found by trying: two steps of two runs, together and alone."""

import hashlib
import math
from collections.abc import Hashable, Sequence
from functools import partial

import torch
from torch import Tensor
from torch.nn.modules.batchnorm import _NormBase

from runlab.config.messages import user_message
from runlab.data.content import bytes_of
from runlab.memory import is_out_of_memory
from runlab.stacks.alone import (
    Steps,
    backward_of,
    copy_member,
    flatten_parameters,
    take_steps_alone,
)
from runlab.stacks.batches import stack_nests
from runlab.stacks.nest import Nest, take_apart
from runlab.stacks.process_state import rng_unchanged
from runlab.stacks.side_effects import (
    data_unchanged,
    find_dependence,
    find_side_effect,
    rng_states,
)
from runlab.stacks.stack import Stack
from runlab.stacks.step_request import Member, StepRequest

LEARNING_RATES = ((0.01, 0.004), (0.02, 0.03))  # [runs, steps], of the first group
TOLERANCE = {torch.float64: 1e-6}
SINGLE_TOLERANCE = 1e-2  # Adam's first step turns rounding into whole steps


def check_equivalence(requests: Sequence[StepRequest]) -> tuple[str | None, bool]:
    """Why these runs cannot be stacked (None if they can), and whether a step draws at random.

    All is tried on copies: the runs are left as they are. Raises what tells of too little memory.
    """
    request, device = requests[0], requests[0].device
    with rng_unchanged(device), torch.autocast(device.type, enabled=False):
        if (reason := find_side_effect(request)) or (reason := find_dependence(request)):
            return reason, False
        before = rng_states(device)
        try:
            members = [copy_member(request.member), *(each.member for each in requests[1:])]
            stack, nest = Stack(members), stack_nests([each.first_nest for each in requests])
            stack.operations.gradients(*stack.tensors, nest)
        except Exception as error:
            if is_out_of_memory(error):
                raise
            return f"torch.vmap cannot take its loss_step ({first_line(error)})", False
        draws = not all(map(torch.equal, before, rng_states(device)))
        return find_difference(requests[:2], draws), draws


def preparation_key(request: StepRequest) -> Hashable:
    """Equal for runs that make the same of the same bytes."""
    if all(dtype != torch.uint8 for _, dtype, _ in request.tensors_key):
        return None
    probes = [
        (torch.arange(math.prod(shape), device=device) % 256).view(shape).to(dtype)
        for shape, dtype, device in request.tensors_key
    ]
    with rng_unchanged(request.device), data_unchanged(request):
        torch.manual_seed(0)
        batch, _ = request.form.fill(probes)
        prepared = take_apart(request.module.prepare(batch), "its batch")
    content = hashlib.sha256()
    for tensor in prepared.tensors:
        content.update(bytes_of(tensor.cpu()).data)
    kinds = tuple((each.dtype, each.shape) for each in prepared.tensors)
    return kinds, prepared.form.key, content.hexdigest()


def find_difference(requests: Sequence[StepRequest], draws: bool) -> str | None:
    """Why two runs differ together and alone, with dropout off; None if they do not."""
    dtype = torch.float64
    steps = partial(steps_alone, draws=draws)
    try:
        alone = [*map(partial(steps, dtype=dtype), requests, LEARNING_RATES)]
    except Exception as error:  # a device or a network without double precision
        if is_out_of_memory(error):
            raise
        dtype = next(iter(requests[0].member.trained.values())).dtype
        alone = [*map(partial(steps, dtype=dtype), requests, LEARNING_RATES)]
    try:
        together = steps_together(requests, dtype, draws)
    except Exception as error:
        if is_out_of_memory(error):
            raise
        return f"its optimizer cannot step several runs at once ({first_line(error)})"
    for request, mine, ours in zip(requests, alone, together, strict=True):
        start = copy_member(request.member, dtype)
        if not is_close(mine.parameters, flatten_parameters(ours), flatten_parameters(start)):
            return (
                "its steps come out differently (is its optimizer's step not linear in the rate?)"
            )
        for name, buffer in mine.buffers.items():
            if not is_close(buffer, ours.buffers[name], start.buffers[name]):
                return f"its {name} comes out differently"
    return None


def is_close(one: Tensor, other: Tensor, start: Tensor) -> bool:
    """Whether two computations differ by little of what they have changed."""
    tolerance = TOLERANCE.get(one.dtype, SINGLE_TOLERANCE if one.is_floating_point() else 0)
    one, other, start = (each.double() for each in (one, other, start))
    return bool((one - other).norm() <= tolerance * (one - start).norm())


def steps_alone(
    request: StepRequest, learning_rates: Sequence[float], dtype: torch.dtype, draws: bool
) -> Steps:
    member = without_dropout(copy_member(request.member, dtype), draws)
    rates = [rates_of_groups(rate, member) for rate in learning_rates]
    return take_steps_alone(member, prepared_nests(request, dtype), rates, backward_of(member))


def steps_together(
    requests: Sequence[StepRequest], dtype: torch.dtype, draws: bool
) -> list[Member]:
    """Copies of the runs, after the steps."""
    members = [without_dropout(copy_member(each.member, dtype), draws) for each in requests]
    of_runs = [prepared_nests(request, dtype) for request in requests]
    by_step = [stack_nests(nests) for nests in zip(*of_runs, strict=True)]
    rates = [[rates_of_groups(rate, members[0]) for rate in row] for row in LEARNING_RATES]
    stack = Stack(members)
    stack.take_steps(by_step.__getitem__, torch.tensor(rates, dtype=torch.float64))
    stack.write_back()
    return members


def rates_of_groups(rate: float, member: Member) -> list[float]:
    """Another one for each group of the optimizer."""
    return [rate * (1 + number) for number in range(len(member.optimizer.param_groups))]


def without_dropout(member: Member, draws: bool) -> Member:
    """Where a step draws at random, all modules but batch norms as they are in evaluation."""
    for each in member.module.modules() if draws else ():
        each.training = each.training and isinstance(each, _NormBase)
    return member


def prepared_nests(request: StepRequest, dtype: torch.dtype) -> list[Nest]:
    """Some steps' batches, prepared and in that precision, and what is drawn for them."""
    nests = []
    for step in range(len(LEARNING_RATES[0])):
        batch, drawn = request.nest(min(step, request.steps - 1)).value
        nest = take_apart((request.module.prepare(batch), drawn), "its batch")
        tensors = [e.to(dtype) if e.is_floating_point() else e for e in nest.tensors]
        nests.append(nest.replace(tensors))
    return nests


def first_line(error: Exception) -> str:
    return user_message(error).partition(". ")[0]
