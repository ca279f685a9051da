"""A run's steps as the run alone takes them, on copies: the run is left as it is."""

import copy
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_
from torch.optim import Optimizer

from runlab.module import Module
from runlab.stacks.accumulation import Accumulation, accumulate, each_steps
from runlab.stacks.attributes import HELD_BY_MODULE
from runlab.stacks.nest import Nest
from runlab.stacks.step_request import Member


def copy_member(member: Member, dtype: torch.dtype | None = None) -> Member:
    """A copy whose optimizer goes on from where the member's is."""
    module = copy_module(member.module).to(dtype=dtype)
    copied = dict(module.named_parameters())
    pairs = {p: copied[name] for name, p in member.parameters.items()}
    optimizer = copy_optimizer(member.optimizer, pairs)
    for parameter, own in pairs.items():
        if member.module.pending_batches > 0 and parameter.grad is not None:
            own.grad = parameter.grad.to(dtype, copy=True)
        if state := member.optimizer.state.get(parameter):
            optimizer.state[own] = {
                key: cast_state(key, value, parameter, dtype) for key, value in state.items()
            }
    return member._replace(module=module, optimizer=optimizer)


def copy_module(module: Module) -> Module:
    """Its parameters, buffers, submodules and attributes; it shares Lightning's and the engine's.

    It has no metrics, which are no part of a step.
    """
    held = {name: value for name, value in vars(module).items() if name in HELD_BY_MODULE}
    memo = {id(value): value for value in held.values()}
    memo |= {id(each): nn.ModuleDict() for each in (module.metrics, module.losses)}
    copied = copy.deepcopy(module, memo)
    copied._trainer = module._trainer  # which no copy of Lightning's keeps
    return copied


def copy_optimizer(optimizer: Optimizer, tensors: Mapping[nn.Parameter, Tensor]) -> Optimizer:
    """One of the same class, settings and groups, for other tensors, and without their state."""
    groups = [
        {**group, "params": [tensors[p] for p in group["params"] if p in tensors]}
        for group in optimizer.param_groups
    ]
    # as pickle does; a schedule has put a step of its own there
    own = {k: v for k, v in vars(optimizer).items() if k != "step" and "hooks" not in k}
    copied = object.__new__(type(optimizer))
    copied.__setstate__({**own, "state": defaultdict(dict), "param_groups": groups})
    return copied


def cast_state(key: str, value: Any, parameter: Tensor, dtype: torch.dtype | None) -> Any:
    """A copy; `step` is a counter even where the parameter has its shape, that of one number."""
    if not isinstance(value, Tensor):
        return copy.deepcopy(value)
    is_own = value.shape == parameter.shape and key != "step" and value.is_floating_point()
    return value.to(dtype, copy=True) if is_own and dtype is not None else value.clone()


class Steps(NamedTuple):
    """Each step's loss, and the parameters and buffers after the last step."""

    losses: Float[Tensor, " steps"]
    parameters: Float[Tensor, " parameters"]
    buffers: dict[str, Tensor]


Backward = Callable[[Nest], Tensor]
"""Of a step's nest: leaves gradients in the parameters, and returns the loss."""


def take_steps_alone(
    member: Member,
    nests: Sequence[Nest],
    learning_rates: Sequence[Sequence[float]],
    backward: Backward,
    around_backward: Callable[[], AbstractContextManager[None]] = nullcontext,
    accumulation: Accumulation | None = None,
) -> Steps:
    """Takes steps of a copy of a run; `learning_rates` are [steps, groups].

    By default each batch has an optimizer step of its own.
    """
    optimizer, losses = member.optimizer, []
    together, waiting, ends = accumulation or each_steps(len(nests))
    held = member.held_gradients if waiting else {}
    for nest, rates, is_end in zip(nests, learning_rates, ends, strict=True):
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = rate
        optimizer.zero_grad()
        with around_backward():
            losses.append(backward(nest).detach())
        found = {name: p.grad for name, p in member.trained.items() if p.grad is not None}
        held = accumulate(held, found, together)
        for name, gradient in held.items():
            member.trained[name].grad = gradient
        if not is_end:
            continue
        held = {}
        if member.gradient_clip is not None:
            clip_grad_norm_(member.trained.values(), member.gradient_clip)
        optimizer.step()
    buffers = {name: buffer.detach().clone() for name, buffer in member.buffers.items()}
    return Steps(torch.stack(losses), flatten_parameters(member), buffers)


def backward_of(member: Member) -> Backward:
    """As the run alone does it."""
    module = member.module

    def backward(nest: Nest) -> Tensor:
        batch, drawn = nest.value
        loss, _ = module.compute_loss(module.prepare(batch), drawn)
        loss.backward()
        return loss

    return backward


def flatten_parameters(member: Member) -> Float[Tensor, " parameters"]:
    return torch.cat([p.detach().flatten() for p in member.trained.values()])
