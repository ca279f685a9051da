"""Which optimizers of PyTorch a stack may step at rate 1, and move each run by its own rate."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn, optim

from runlab.stacks.eligibility import OPTIMIZERS

RUNS, SHAPE, RATE = 3, (4, 3), 0.37
SETTINGS: dict[str, list[dict[str, Any]]] = {
    "ASGD": [{}, {"weight_decay": 0.1}],
    "Adadelta": [{}, {"weight_decay": 0.1, "maximize": True}],
    "Adafactor": [{}, {"weight_decay": 0.1}],
    "Adagrad": [{}, {"lr_decay": 0.1, "weight_decay": 0.1, "initial_accumulator_value": 0.2}],
    "Adam": [{}, {"amsgrad": True, "weight_decay": 0.1}, {"decoupled_weight_decay": True,
             "weight_decay": 0.1}, {"maximize": True, "betas": (0.5, 0.9)}],
    "AdamW": [{}, {"amsgrad": True, "weight_decay": 0.3}, {"fused": True}, {"foreach": True}],
    "Adamax": [{}, {"weight_decay": 0.1, "maximize": True}],
    "LBFGS": [{}],
    "Muon": [{}],
    "NAdam": [{}, {"weight_decay": 0.1}, {"decoupled_weight_decay": True, "weight_decay": 0.1}],
    "RAdam": [{}, {"weight_decay": 0.1}, {"decoupled_weight_decay": True, "weight_decay": 0.1}],
    "RMSprop": [{}, {"momentum": 0.9, "centered": True, "weight_decay": 0.1}],
    "Rprop": [{}],
    "SGD": [{}, {"momentum": 0.9}, {"momentum": 0.9, "dampening": 0.3, "weight_decay": 0.1},
            {"momentum": 0.9, "nesterov": True, "maximize": True}, {"weight_decay": 0.1}],
    "SparseAdam": [{}],
}  # fmt: skip
"""For each optimizer of `torch.optim`, what is tried."""


def test_every_optimizer_of_torch_is_tried():
    classes = [each for each in vars(optim).values() if isinstance(each, type)]
    found = {each.__name__ for each in classes if issubclass(each, optim.Optimizer)}
    assert found - {"Optimizer"} == set(SETTINGS)
    assert {each.__name__ for each in OPTIMIZERS} < found


def steps(
    make: Callable[[list[Tensor]], optim.Optimizer],
    start: Tensor,
    gradients: list[Tensor],
    rates: list[float],
) -> list[Tensor]:
    """The parameter after each step."""  # fmt: skip
    parameter = nn.Parameter(start.clone())
    optimizer, found = make([parameter]), []
    for gradient, rate in zip(gradients, rates, strict=True):
        optimizer.param_groups[0]["lr"] = rate
        parameter.grad = gradient.clone()
        optimizer.step()
        found.append(parameter.detach().clone())
    return found


def differs(name: str, settings: dict[str, Any], warm_up: int) -> bool:
    """Whether runs differ: each at its own rates, and all at rate 1, then moved by their rates."""
    make = lambda parameters: getattr(optim, name)(parameters, **settings)  # noqa: E731
    torch.manual_seed(warm_up)
    start = torch.randn(RUNS, *SHAPE, dtype=torch.float64)
    gradients = [10.0**-k * torch.randn_like(start) for k in range(warm_up + 1)]
    rates = torch.rand(RUNS, warm_up + 1, dtype=torch.float64) * RATE
    alone = [
        steps(make, start[run], [each[run] for each in gradients], rates[run].tolist())[-1]
        for run in range(RUNS)
    ]
    together = nn.Parameter(start.clone())
    optimizer = make([together])
    optimizer.param_groups[0]["lr"] = 1.0
    for step, gradient in enumerate(gradients):
        before = together.detach().clone()
        together.grad = gradient.clone()
        optimizer.step()
        with torch.no_grad():
            together.copy_(torch.lerp(before, together, rates[:, step].view(-1, 1, 1)))
    return not torch.allclose(together.detach(), torch.stack(alone), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", SETTINGS)
def test_those_whose_step_is_linear_in_the_rate_are_stacked_and_no_others(name):
    found = []
    for settings in SETTINGS[name]:
        try:
            found += [differs(name, copy.deepcopy(settings), warm_up) for warm_up in (0, 1, 7)]
        except (RuntimeError, TypeError, ValueError):  # it takes no such parameters or gradients
            found.append(True)
    is_listed = getattr(optim, name) in OPTIMIZERS
    assert any(found) != is_listed
