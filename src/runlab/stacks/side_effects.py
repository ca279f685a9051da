"""What a step changes or depends on besides parameters, buffers and what is drawn for it."""

import math
import random
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from lightning.fabric.utilities.data import AttributeDict
from torch import Tensor, nn
from torchmetrics import Metric

from runlab.stacks.alone import copy_member
from runlab.stacks.attributes import (
    OF_RUN,
    OpaqueError,
    own_attributes,
    plain_attributes,
    possessive,
    step_modules,
    surroundings,
)
from runlab.stacks.step_request import Member, StepRequest


def rng_states(device: torch.device) -> list[Tensor]:
    of_device = [torch.cuda.get_rng_state(device)] if device.type == "cuda" else []
    return [torch.get_rng_state(), *of_device]


def find_side_effect(request: StepRequest) -> str | None:
    """What a step of a copy changes besides buffers and PyTorch's generators; None if nothing."""
    member = copy_member(request.member)
    module, before = member.module, tensors_of(member.trained) | state_of(request, member)
    states = rng_states(request.device)
    with torch.no_grad(), data_unchanged(request), generators_unchanged() as moved:
        batch, drawn = request.step_batch(0, module)
        if moved():
            return "its draw or augment draws from Python's or NumPy's random generator"
        if not all(map(torch.equal, states, rng_states(request.device))):
            return "its draw or augment draws from another generator than the one that it gets"
    with torch.no_grad(), data_unchanged(request), generators_unchanged() as moved:
        different = {*OF_RUN, request.rate}
        module._hparams = OwnHyperparameters(module.hparams, different)
        for name in ("seed", "first_step", request.rate or ""):
            vars(module).pop(name, None)
        module.compute_loss(module.prepare(batch), drawn)
        if moved():
            return "a training step changes Python's or NumPy's random generator"
        changed = find_change(before, tensors_of(member.trained) | state_of(request, member))
    return None if changed is None else f"a training step changes {changed}"


class OwnHyperparameters(AttributeDict):
    """Those of a module without what may be different in each run."""

    def __init__(self, hparams: Mapping[str, Any], different: Collection[str | None]) -> None:
        super().__init__({name: each for name, each in hparams.items() if name not in different})
        object.__setattr__(self, "different", different)

    def __missing__(self, name: str) -> Any:
        if name in vars(self)["different"]:
            raise OpaqueError(f"its loss_step reads hparams.{name}, another one in each run")
        raise KeyError(name)


@contextmanager
def generators_unchanged() -> Iterator[Callable[[], bool]]:
    """Leaves Python's and NumPy's as they were; yields a function that says whether one moved."""
    states = random.getstate(), np.random.get_state()
    try:
        yield lambda: repr((random.getstate(), np.random.get_state())) != repr(states)
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])


def find_dependence(request: StepRequest) -> str | None:
    """Whether what is drawn for a step depends on what steps change: they are not taken by then."""
    if request.is_plain or request.steps == 1:
        return None
    member = copy_member(request.member)
    with torch.no_grad():
        for tensor in (member.parameters | member.buffers).values():
            tensor.fill_(math.nan if tensor.is_floating_point() else 1)
    nests = [request.first_nest, request.nest(0, member.module)]
    pairs = zip(*(nest.tensors for nest in nests), strict=True)
    if all(torch.equal(*pair) for pair in pairs):
        return None
    return "what its draw or augment returns depends on more than the batch and the generator"


def state_of(request: StepRequest, member: Member) -> dict[str, Any]:
    """What a step may not change: all that a copy's modules hold but trained parameters.

    By readable names; of buffers their shapes, and attributes as text. So are those of its data,
    and the plain values that their classes and those classes' modules hold.
    """
    values = tensors_of(member.frozen)
    values |= {f"its {name}": (b.shape, b.dtype) for name, b in member.buffers.items()}
    for path, each in step_modules(member.module):
        values |= attributes_of(f"its {possessive(path)}", each)
    values |= {f"its data's {k}": key for k, key in plain_attributes(request.data).items()}
    return values | surroundings(request.module)


def tensors_of(parameters: Mapping[str, Tensor]) -> dict[str, Any]:
    return {f"its {name}": p.detach().clone() for name, p in parameters.items()}


def attributes_of(place: str, module: nn.Module) -> dict[str, str]:
    values = own_attributes(module)
    if isinstance(module, Metric):
        values |= {name: getattr(module, name) for name in module._defaults}
    return {
        place + name: without_addresses(repr(comparable(value))) for name, value in values.items()
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
    attributes = {} if request.data is None else vars(request.data)
    before = dict(attributes)
    try:
        yield
    finally:
        attributes.clear()
        attributes.update(before)


def comparable(value: Any) -> Any:
    """A tensor as a list: its `repr` would be shortened."""
    return value.tolist() if isinstance(value, Tensor) else value


def without_addresses(text: str) -> str:
    """A `repr` that does not tell where in memory an object lies."""
    return re.sub(" at 0x[0-9a-fA-F]+", "", text)
