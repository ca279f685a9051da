"""What training measures at each block, and when it is looked at."""

import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import lightning as L
import torch
from jaxtyping import Float
from torch import Tensor

PATIENCE = 30.0
"""Seconds after which a dashboard should show what an epoch that goes on has measured."""


class Point(NamedTuple):
    """One value of a curve.

    Attributes:
        step: optimizer steps taken by then.
        shown: to loggers.
        synced: across devices, by their mean.
    """

    name: str
    value: Float[Tensor, ""] | float
    step: int
    shown: bool
    synced: bool


class Points:
    """Values that wait where they were computed: on a GPU every look at one waits for the device.

    Attributes:
        waiting: what was added and is not read yet.
    """

    def __init__(self) -> None:
        self.waiting: list[Point] = []
        self.values: dict[str, list[float]] = {}
        self.last_read = time.monotonic()

    def add(self, name: str, value: Any, synced: bool, trainer: L.Trainer) -> None:
        """Shown as often as Lightning shows what is logged in its way."""
        blocks = trainer.fit_loop.total_batch_idx + 1
        shown = blocks % trainer.log_every_n_steps == 0  # type: ignore[attr-defined]
        value = value.detach().reshape(()) if isinstance(value, Tensor) else float(value)
        point = Point(name, value, trainer.global_step, shown, synced)
        self.waiting.append(point)

    @property
    def overdue(self) -> bool:
        return time.monotonic() - self.last_read > PATIENCE

    def read(self, trainer: L.Trainer) -> None:
        """Gives loggers what waits."""
        points, self.waiting = self.waiting, []
        rows: dict[int, dict[str, float]] = {}
        for point, value in zip(points, values_of(points, trainer), strict=True):
            self.values.setdefault(point.name, []).append(value)
            if point.shown:
                rows.setdefault(point.step, {})[point.name] = value
        for logger in trainer.loggers if rows else []:
            for step, row in rows.items():
                logger.log_metrics(row, step)
            logger.save()
        self.last_read = time.monotonic()

    def means(self) -> dict[str, float]:
        """Of what was read since they were last asked for."""
        values, self.values = self.values, {}
        return {name: sum(own) / len(own) for name, own in values.items()}


def values_of(points: Sequence[Point], trainer: L.Trainer) -> list[float]:
    device = trainer.strategy.root_device
    tensors = [each.value.to(device) for each in points if isinstance(each.value, Tensor)]
    read = iter(torch.stack(tensors).tolist() if tensors else [])
    values = [next(read) if isinstance(p.value, Tensor) else p.value for p in points]
    synced = [index for index, each in enumerate(points) if each.synced]
    if trainer.world_size > 1 and synced:
        own = torch.tensor([values[index] for index in synced], device=device)
        means: Tensor = trainer.strategy.reduce(own, reduce_op="mean")
        for index, mean in zip(synced, means.tolist(), strict=True):
            values[index] = mean
    return values
