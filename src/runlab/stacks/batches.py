"""The batches of a stack's steps: those of all runs in one tensor each, [runs, batch, ...]."""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Num
from torch import Tensor

from runlab.blocks.lazy_batch import LazyBatch, memory_of, step_of
from runlab.stacks.nest import Nest
from runlab.stacks.step_request import PLAIN, StepRequest

Batches = Callable[[int], Nest]
"""Of a step, by its number. The next step's may use the same memory."""


def stack_batches(requests: Sequence[StepRequest]) -> Batches:
    if all(request.is_plain for request in requests):
        return PlainBatches(*zip(*(request.batches for request in requests), strict=True))
    return DrawnBatches(requests)


class DrawnBatches:
    """Each run augments and draws as it does alone, step by step."""

    def __init__(self, requests: Sequence[StepRequest]) -> None:
        self.requests = requests

    def __call__(self, step: int) -> Nest:
        return stack_nests([request.nest(step) for request in self.requests])


class PlainBatches:
    """Batches that are in the runs' blocks as the step takes them."""

    def __init__(
        self,
        inputs: Sequence[Num[Tensor, "steps batch ..."]],
        targets: Sequence[Num[Tensor, "steps batch ..."]],
    ) -> None:
        self.inputs = StackedInputs(inputs)
        self.targets = torch.stack([*targets], dim=1)  # [steps, runs, batch, ...]

    def __call__(self, step: int) -> Nest:
        return Nest([self.inputs[step], self.targets[step]], PLAIN)


class StackedInputs:
    """Each step's inputs of all runs, [runs, batch, ...]; all steps use the same memory.

    Where each run has a `LazyBatch` of the same data set, one operation gathers all of them.
    """

    def __init__(self, inputs: Sequence[Num[Tensor, "steps batch ..."]]) -> None:
        self.inputs, first = inputs, inputs[0]
        size = len(inputs), *first.shape[1:]
        self.batch = torch.empty(size, dtype=first.dtype, device=first.device)
        lazy = [e for e in inputs if isinstance(e, LazyBatch) and not e.is_materialized]
        sources = {memory_of(each.source) for each in lazy}
        self.indices: Tensor | None = None
        if len(lazy) == len(inputs) and len(sources) == 1:
            self.source = lazy[0].source
            by_step = torch.stack([each.indices for each in lazy], dim=1)  # [steps, runs, batch]
            self.indices = by_step.flatten(1)

    def __getitem__(self, step: int) -> Num[Tensor, "runs batch ..."]:
        if self.indices is not None:
            flat = self.batch.flatten(0, 1)
            torch.index_select(self.source, 0, self.indices[step], out=flat)
        else:
            torch.stack([step_of(each, step) for each in self.inputs], out=self.batch)
        return self.batch


def stack_nests(nests: Sequence[Nest]) -> Nest:
    """One nest of [runs, ...]. Raises ValueError if they are not of one form."""
    first, *others = nests
    if any(each.form.key != first.form.key for each in others):
        raise ValueError("its batches, or what is drawn for them, are of several forms")
    of_runs = zip(*(nest.tensors for nest in nests), strict=True)
    return first.replace([torch.stack(each) for each in of_runs])
