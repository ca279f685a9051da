"""What training measures at each block: it waits on the device until somebody looks at it."""

import time
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import lightning as L
import torch
from jaxtyping import Float
from torch import Tensor

MAX_DELAY = 30.0
"""Seconds after which a dashboard should show what an epoch that goes on has measured."""


class Entry(NamedTuple):
    """One value of a metric.

    Attributes:
        step: optimizer steps taken by then.
        for_loggers: whether loggers get it, or its mean alone is needed.
    """

    name: str
    value: Float[Tensor, ""] | float
    step: int
    for_loggers: bool


class MetricBuffer:
    """Values that stay where they were computed, as each look at one would wait for a GPU."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.sums: dict[str, float] = {}
        self.counts: dict[str, int] = {}
        self.last_flush = time.monotonic()

    def add(self, name: str, value: Tensor | float, trainer: L.Trainer) -> None:
        """Loggers get it as often as Lightning gives them what is logged in its way.

        Raises:
            ValueError: for a tensor of several numbers.
            TypeError: for what is no number.
        """
        if isinstance(value, Tensor):
            if value.numel() != 1:
                raise ValueError(
                    f"expected one number to log as {name}, got a tensor of shape "
                    f"{tuple(value.shape)}: take its mean, or log each under a name of its own"
                )
            value = value.detach().clone().reshape(())  # it may be another's memory
        else:
            value = float(value)
        blocks = trainer.fit_loop.total_batch_idx + 1
        every: int = trainer.log_every_n_steps  # type: ignore[attr-defined]
        for_loggers = every > 0 and blocks % every == 0
        self.entries.append(Entry(name, value, trainer.global_step, for_loggers))

    @property
    def is_overdue(self) -> bool:
        return time.monotonic() - self.last_flush > MAX_DELAY

    def flush(self, trainer: L.Trainer) -> None:
        """Reads the values from the device and gives them to the loggers."""
        entries, self.entries = self.entries, []
        rows: dict[int, dict[str, float]] = {}
        for entry, value in zip(entries, read_values(entries, trainer), strict=True):
            self.sums[entry.name] = self.sums.get(entry.name, 0.0) + value
            self.counts[entry.name] = self.counts.get(entry.name, 0) + 1
            if entry.for_loggers:
                rows.setdefault(entry.step, {})[entry.name] = value
        for logger in trainer.loggers if rows else []:
            for step, row in rows.items():
                logger.log_metrics(row, step)
            logger.save()
        self.last_flush = time.monotonic()

    def means(self) -> dict[str, float]:
        """Of what was read since `reset`."""
        return {name: total / self.counts[name] for name, total in self.sums.items()}

    def reset(self) -> None:
        self.sums, self.counts = {}, {}

    def state_dict(self) -> dict[str, Any]:
        return {"sums": self.sums, "counts": self.counts}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.sums, self.counts = dict(state["sums"]), dict(state["counts"])


def read_values(entries: Sequence[Entry], trainer: L.Trainer) -> list[float]:
    """The entries' values; means across devices, each of which has to have the same entries."""
    device = trainer.strategy.root_device
    # at once: each look at a GPU waits for it
    on_device = [upcast_to_float32(e.value) for e in entries if is_on(device, e.value)]
    read = iter(torch.stack(on_device).tolist() if on_device else [])
    values = [next(read) if is_on(device, e.value) else float(e.value) for e in entries]
    if trainer.world_size > 1 and values:
        means: Tensor = trainer.strategy.reduce(
            torch.tensor(values, device=device), reduce_op="mean"
        )
        return means.tolist()
    return values


def is_on(device: torch.device, value: Tensor | float) -> bool:
    return isinstance(value, Tensor) and value.device == device


def upcast_to_float32(value: Any) -> Tensor:
    return value.to(torch.promote_types(value.dtype, torch.float32))


def read_logged(trainer: L.Trainer) -> None:
    """Copies what an evaluation has logged to the CPU, all of it at once.

    Loggers, checkpoints and callbacks read each of the numbers, and each look at a GPU waits for
    it.
    """
    results = trainer._results
    if trainer.strategy.root_device.type == "cpu" or results is None:
        return
    results.metrics(on_step=False)  # computes them, as Lightning does next
    metrics = [each for _, each in results.valid_items() if lies_elsewhere(each._computed)]
    computed: list[Any] = [each._computed for each in metrics]
    for metric, value in zip(metrics, copy_to_cpu(computed), strict=True):
        metric._computed = value


def copy_to_cpu(values: Sequence[Tensor]) -> list[Tensor]:
    """The same numbers on the CPU, by one copy for each dtype."""
    copies: dict[torch.dtype, Iterator[Tensor]] = {}
    for dtype in {value.dtype for value in values}:
        together = torch.stack([value.reshape(()) for value in values if value.dtype == dtype])
        copies[dtype] = iter(together.cpu())
    # each in memory of its own, as a checkpoint keeps the whole memory of what it keeps
    return [next(copies[value.dtype]).clone().view(value.shape) for value in values]


def lies_elsewhere(value: object) -> bool:
    """Whether it is a number that has to be copied to be looked at."""
    return isinstance(value, Tensor) and value.numel() == 1 and value.device.type != "cpu"


def number_on_cpu(value: Any) -> Float[Tensor, ""]:
    """As Lightning makes a tensor of a number: of the default dtype, but no lower than float32."""
    return torch.tensor(value, dtype=torch.promote_types(torch.get_default_dtype(), torch.float32))


class WithoutStep(dict[str, Tensor]):
    """`callback_metrics` without `step`, the x axis of what a hook logged some steps ago.

    Lightning's ModelCheckpoint would name its files by it.
    """

    def update(self, metrics: Any, **others: Any) -> None:  # type: ignore[override]
        super().update({k: v for k, v in metrics.items() if k != "step"}, **others)


def forget_logged_step(trainer: L.Trainer, forget: bool = True) -> None:
    """Until it is told otherwise: processes hand each other plain values."""
    connector = trainer._logger_connector
    kind = WithoutStep if forget else dict
    connector._callback_metrics = kind(connector._callback_metrics)
