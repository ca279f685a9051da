"""A run's steps as the run alone takes them, on copies: the run is left as it is."""

import copy
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_

from runlab.stacks.step_request import Member, StepRequest


def copy_member(member: Member, dtype: torch.dtype | None = None) -> Member:
    """A copy with a new optimizer of the same settings."""
    network: nn.Module = copy.deepcopy(member.network).to(dtype=dtype)
    loss: nn.Module = copy.deepcopy(member.loss).to(dtype=dtype)
    optimizer = member.make_optimizer(network.parameters())
    return member._replace(network=network, loss=loss, optimizer=optimizer)


def copy_with_state(member: Member) -> Member:
    """A copy whose optimizer goes on from where the member's is."""
    copied = copy_member(member)
    [group], [own] = copied.optimizer.param_groups, member.optimizer.param_groups
    group.update({key: value for key, value in own.items() if key != "params"})
    for name, parameter in member.trained.items():
        if state := member.optimizer.state.get(parameter):
            copied.optimizer.state[copied.trained[name]] = copy.deepcopy(state)
    return copied


class Steps(NamedTuple):
    """Each step's loss, and the parameters after the last step."""

    losses: Float[Tensor, " steps"]
    parameters: Float[Tensor, " parameters"]


def loss_step_of(request: StepRequest, member: Member) -> Callable[..., tuple[Tensor, Tensor]]:
    """The `loss_step` of the run's module, of a copy's network and loss."""
    module = object.__new__(type(request.module))
    vars(module).update(vars(request.module))
    parts = {"network": member.network, "loss": member.loss}
    vars(module)["_modules"] = {**request.module._modules, **parts}
    return module.loss_step


Backward = Callable[[Tensor, Tensor], Tensor]
"""Of a batch's inputs and targets: leaves gradients in the parameters, and returns the loss."""


def take_steps_alone(
    member: Member,
    batches: Sequence[tuple[Tensor, Tensor]],
    learning_rates: Sequence[float],
    backward: Backward,
    around_backward: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> Steps:
    """Takes steps of a copy of a run."""
    optimizer, losses = member.optimizer, []
    for (inputs, targets), learning_rate in zip(batches, learning_rates, strict=True):
        optimizer.param_groups[0]["lr"] = learning_rate
        optimizer.zero_grad()
        with around_backward():
            losses.append(backward(inputs, targets).detach())
        if member.gradient_clip is not None:
            clip_grad_norm_(member.network.parameters(), member.gradient_clip)
        optimizer.step()
    return Steps(torch.stack(losses), flatten_parameters(member))


def backward_of(request: StepRequest, member: Member) -> Backward:
    """By the `loss_step` of the run's module, of a copy's network and loss."""
    loss_step = loss_step_of(request, member)

    def backward(inputs: Tensor, targets: Tensor) -> Tensor:
        loss, _ = loss_step((inputs, targets), None)
        loss.backward()
        return loss

    return backward


def flatten_parameters(member: Member) -> Float[Tensor, " parameters"]:
    return torch.cat([p.detach().flatten() for p in member.trained.values()])
