"""How time is taken: what a baseline is, when its clock runs, and whose turn it is."""

import gc
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol, TypeVar, runtime_checkable

import lightning as L
import torch
from tqdm import tqdm

T = TypeVar("T")


@runtime_checkable
class Baseline(Protocol):
    """A way to train the same network on the same samples."""

    name: str
    description: str

    def run(self, steps: int) -> float:
        """Seconds per optimizer step, over exactly so many, from the same start every time."""


def clock(device: torch.device) -> float:
    """Seconds, read when the device has done all that it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
    return time.perf_counter()


class Stopwatch(L.Callback):
    """Counts from `on_train_start` to `on_train_end`, but not between a validation's start and end.

    Placed first among the callbacks, it also counts what is done as a validation starts, when
    loggers get what training measured, and what other callbacks do at its end, such as writing the
    best checkpoint. `started` and `ended` are readings of the clock.
    """

    def __init__(self) -> None:
        self.seconds = 0.0
        self.steps = 0

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.started = self.resumed = clock(pl_module.device)

    def on_validation_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.seconds += clock(pl_module.device) - self.resumed

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.resumed = clock(pl_module.device)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.ended = clock(pl_module.device)
        self.seconds += self.ended - self.resumed
        self.steps = trainer.global_step

    def seconds_per_step(self, steps: int) -> float:
        if self.steps != steps:
            raise ValueError(
                f"expected {steps} optimizer steps, got {self.steps}; choose a trainer that trains "
                f"whole epochs (default, cpu, gpu) and a learning rate that does not diverge"
            )
        return self.seconds / steps


def run_interleaved(
    baselines: Sequence[Baseline],
    before_round: Callable[[], None],
    steps: int,
    rounds: int,
) -> dict[str, list[float]]:
    """Seconds per step of each baseline, one a round, by its name.

    Every round has all of them, and a different one begins: what slows the machine down for a while
    then slows them all.
    """
    seconds: dict[str, list[float]] = {baseline.name: [] for baseline in baselines}
    for number in tqdm(range(rounds), "rounds", leave=False, disable=None):
        before_round()
        for baseline in rotate(baselines, number):
            seconds[baseline.name].append(run_once(baseline, steps))
    return seconds


def run_once(baseline: Baseline, steps: int) -> float:
    """Seconds per step, with no other baseline's garbage to collect, nor its settings."""
    gc.collect()
    with preserve_torch_settings():
        return baseline.run(steps)


def rotate(values: Sequence[T], number: int) -> list[T]:
    start = number % len(values)
    return [*values[start:], *values[:start]]


@contextmanager
def preserve_torch_settings() -> Iterator[None]:
    """Lightning's Trainer sets determinism for the whole process: the others did not ask for it."""
    mode = torch.get_deterministic_debug_mode()
    cudnn = torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic
    try:
        yield
    finally:
        torch.set_deterministic_debug_mode(mode)
        torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic = cudnn
