"""One run of a stack takes its block alone beside it: what the stack computed has to be the same.

Two computations of one block differ by rounding, and a block may make much of that: at a high
learning rate neighbouring weights part. So a third one, each of whose gradients is taken at weights
that a rounding has moved, measures how much rounding explains.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from runlab.module import StackDifferenceError
from runlab.stacks.alone import Backward, Steps, backward_of, copy_member, take_steps_alone
from runlab.stacks.nest import Nest
from runlab.stacks.process_state import rng_unchanged
from runlab.stacks.side_effects import data_unchanged, find_change, state_of
from runlab.stacks.stack import gradients_of
from runlab.stacks.step_request import Member, StepRequest

LIMIT = 100.0
"""So many times the measured effect of rounding is still taken for rounding."""

ELSEWHERE = 0.1
"""A loss that rounding changes by more than that part of it has left the run's path."""

DOUBTS = 4
"""Where one measurement does not explain a difference, so many more, of a larger rounding."""

SEED = 0
"""Of the random numbers of a step, where it draws any, together and alone."""


def require_same(
    request: StepRequest, learning_rates: Sequence[Sequence[float]], stacked: Steps, draws: bool
) -> None:
    """Compares what a stack has computed for a run with what the run computes alone.

    Args:
        learning_rates: [steps, groups].

    Raises:
        StackDifferenceError: if they differ by more than rounding.
    """
    take = partial(take_block_alone, request, learning_rates, draws)
    size = rounding_of(request)
    alone = take()
    if times_rounding(stacked, alone, [alone], size) <= LIMIT:
        return
    repeats = torch.are_deterministic_algorithms_enabled()
    if repeats and not same_bits(alone, take()):
        raise StackDifferenceError(
            f"{name_of(request)}: expected the same block to come to the same weights each time, "
            f"got others the second time: a training step changes something that a stack does not "
            f"see (a global, an attribute of a class?). {WHAT_TO_DO}"
        )
    near = [take(size, SEED)]
    if (times := times_rounding(stacked, alone, near, size)) > LIMIT:
        # a kink or a tie that the first measurement happened not to meet
        near += [take(16 * size, seed) for seed in range(1, DOUBTS + 1)]
        times = times_rounding(stacked, alone, near, size)
    if times > LIMIT:
        difference = (stacked.parameters - alone.parameters).norm() / alone.parameters.norm()
        raise StackDifferenceError(
            f"{name_of(request)}: expected of its stack what the run computes alone, got other "
            f"weights or losses after {len(learning_rates)} steps ({100 * difference:.2g}% of the "
            f"weights' norm, {times:,.0f} times what rounding explains): its modules, optimizer "
            f"or data hold something that a stack does not see. {WHAT_TO_DO}"
        )


WHAT_TO_DO = (
    "Train the whole sweep again, one run after another: hydra/launcher=basic overwrite=true"
)


def same_bits(one: Steps, other: Steps) -> bool:
    pairs = [(one.losses, other.losses), (one.parameters, other.parameters)]
    pairs += [(buffer, other.buffers[name]) for name, buffer in one.buffers.items()]
    return all(torch.allclose(a, b, rtol=0, atol=0, equal_nan=True) for a, b in pairs)


def name_of(request: StepRequest) -> str:
    return Path(request.trainer.default_root_dir).name


def take_block_alone(
    request: StepRequest,
    learning_rates: Sequence[Sequence[float]],
    draws: bool,
    size: float = 0.0,
    seed: int = 0,
) -> Steps:
    """The block of a copy of the run; `size` and `seed` are those of `moved`."""
    member, device = copy_member(request.member), request.device
    precision = request.trainer.precision_plugin.forward_context()
    with rng_unchanged(device), data_unchanged(request), precision:
        before = state_of(request, member)
        torch.manual_seed(SEED)
        nests = [request.nest(step, member.module) for step in range(request.steps)]
        backward = backward_in_vmap(member) if draws else backward_of(member)
        generator = torch.Generator(device).manual_seed(seed)
        around = partial(moved, member, size, generator)
        steps = take_steps_alone(
            member, nests, learning_rates, backward, around, request.accumulation
        )
        if changed := find_change(before, state_of(request, member)):
            raise StackDifferenceError(
                f"{name_of(request)}: expected a training step to change nothing that a stack does "
                f"not see, got another value of {changed}. {WHAT_TO_DO}"
            )
    return steps


def backward_in_vmap(member: Member) -> Backward:
    """As a stack of one: vmap draws random numbers in its own order."""
    gradients_in_vmap = gradients_of(member)

    def backward(nest: Nest) -> Tensor:
        trained, fixed, buffers = (
            {name: tensor.detach().unsqueeze(0) for name, tensor in each.items()}
            for each in (member.trained, member.frozen, member.buffers)
        )
        stacked = nest.replace([each.unsqueeze(0) for each in nest.tensors])
        gradients, results = gradients_in_vmap(trained, fixed, buffers, stacked)
        for name, parameter in member.trained.items():
            parameter.grad = gradients[name][0]
        for name, buffer in member.buffers.items():
            buffer.copy_(results.buffers[name][0])
        return results.losses[0]

    return backward


@contextmanager
def moved(member: Member, size: float, generator: torch.Generator) -> Iterator[None]:
    """Inside, each parameter is moved at random by at most that part of itself."""
    parameters = [p.detach() for p in member.trained.values()] if size > 0 else []
    before = [p.clone() for p in parameters]
    for p in parameters:
        noise = torch.rand(p.shape, generator=generator, device=p.device, dtype=p.dtype)
        p.mul_(1 + size * (2 * noise - 1))
    yield
    for p, own in zip(parameters, before, strict=True):
        p.copy_(own)


def rounding_of(request: StepRequest) -> float:
    """The relative rounding of what a step computes with."""
    device = request.device.type
    dtype = next(iter(request.member.trained.values())).dtype
    with request.trainer.precision_plugin.forward_context():
        if torch.is_autocast_enabled(device):
            dtype = torch.get_autocast_dtype(device)
    backends = torch.backends.cuda.matmul, torch.backends.cudnn
    if device == "cuda" and dtype == torch.float32 and any(each.allow_tf32 for each in backends):
        return 2.0**-10
    return torch.finfo(dtype).eps


def times_rounding(stacked: Steps, alone: Steps, near: Sequence[Steps], size: float) -> float:
    """How far the stack is from the run alone, in units of how far rounding leads.

    Where rounding leads to another place, or to infinity, nothing can be said from there on.
    """
    got, expected, *others = (each.losses.double() for each in (stacked, alone, *near))
    bound = ELSEWHERE * expected.abs() + size
    close = torch.stack([(each - expected).abs() <= bound for each in others])  # NaN is not
    known = int(close.all(dim=0).cumprod(dim=0).sum())  # steps
    got, expected, *others = (each[:known] for each in (got, expected, *others))
    times = ratio(got, expected, others, least=size * max([1.0, *expected.abs().tolist()]))
    if known == len(alone.losses):
        for last in after_the_last(stacked, alone, *near):
            eps = torch.finfo(last[0].dtype).eps if last[0].is_floating_point() else 0.0  # a count
            got, expected, *others = (each.double() for each in last)
            least = eps * math.sqrt(known) * float(expected.norm())  # of each addition to a weight
            if all(each.isfinite().all() for each in (expected, *others)):
                times = max(times, ratio(got, expected, others, least))
    return times


def after_the_last(*steps: Steps) -> Iterator[list[Tensor]]:
    """The parameters of each, and one by one their buffers."""
    yield [each.parameters for each in steps]
    for name in steps[0].buffers:
        yield [each.buffers[name] for each in steps]


def ratio(got: Tensor, expected: Tensor, others: Sequence[Tensor], least: float) -> float:
    if not got.isfinite().all():
        return math.inf
    explained = max(least, *(float((each - expected).norm()) for each in others))
    difference = float((got - expected).norm())
    if difference > 0 and explained == 0:
        return math.inf
    return difference / explained if difference > 0 else 0.0
