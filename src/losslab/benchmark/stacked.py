"""Runs of losslab that train together: how long a step of one takes, and on what."""

import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import lightning as L
import torch
from omegaconf import DictConfig

from losslab.benchmark.arithmetic import clock
from losslab.benchmark.contestants import Losslab
from losslab.benchmark.results import Spent
from losslab.benchmark.stopwatch import Stopwatch
from losslab.stack import turns
from losslab.stack.stacks import Stacks
from losslab.text import plural


class Stacked:
    """Seconds are for a step of one run: those of all, divided by their number."""

    def __init__(
        self, cfg: DictConfig, steps_per_epoch: int, runs: int, device: torch.device
    ) -> None:
        self.name = f"losslab, {plural(runs, 'run')} stacked"
        self.description = (
            f"{plural(runs, 'run')} of losslab, a seed each, as hydra/launcher=stacked trains "
            "them, on all cores; time for a step of one run"
        )
        self.alone, self.runs, self.device = Losslab(cfg, steps_per_epoch), runs, device
        self.spent: list[Spent] = []
        """What went into each `run`."""

    def run(self, steps: int) -> float:
        with tempfile.TemporaryDirectory() as folder:
            cfgs = [self.alone.configured(steps, f"{folder}/{seed}") for seed in range(self.runs)]
            for seed, cfg in enumerate(cfgs):
                cfg.seed = seed
            runs = [partial(self.alone.train, cfg, MemberStopwatch()) for cfg in cfgs]
            compute = Clocked(Stacks(self.runs).compute, self.device)
            stopwatches = all_ended(turns.together(runs, compute))
        seconds = seconds_together(stopwatches, steps)
        ready = max(each.started for each in stopwatches)
        computing = compute.seconds(ready) + sum(each.alone.seconds(ready) for each in stopwatches)
        looping = sum(each.looping(ready) for each in stopwatches)
        taken = steps * self.runs
        self.spent.append(
            Spent(
                computing=computing / taken,
                looping=looping / taken,
                rest=(seconds - computing - looping) / taken,
            )
        )
        return seconds / taken


class Clocked:
    """A function that notes when it was called and when it returned, the device idle."""

    def __init__(self, function: Callable[..., Any], device: torch.device) -> None:
        self.function, self.device = function, device
        self.calls: list[tuple[float, float]] = []

    def __call__(self, *args: Any) -> Any:
        called = clock(self.device)
        result = self.function(*args)
        self.calls.append((called, clock(self.device)))
        return result

    def seconds(self, since: float) -> float:
        """In the function, after a reading of the clock."""
        return sum(max(0.0, returned - max(called, since)) for called, returned in self.calls)


class MemberStopwatch(Stopwatch):
    """That of one of several runs: also notes when it does not move, as its steps are computed.

    Attributes:
        waiting: how the run asks for a block of steps, while which the others move.
        alone: how it takes the steps of a block that was not computed with the others'.
    """

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        classifier: Any = pl_module
        self.waiting = Clocked(classifier.stack, pl_module.device)
        self.alone = Clocked(classifier.take_steps, pl_module.device)
        classifier.stack, classifier.take_steps = self.waiting, self.alone
        super().on_train_start(trainer, pl_module)

    def validating(self) -> float:
        return self.ended - self.started - self.seconds

    def looping(self, since: float) -> float:
        """Seconds that the run itself moved, but for steps and validation, after a reading."""
        return self.ended - since - self.waiting.seconds(since) - self.validating()


def all_ended(stopwatches: Sequence[MemberStopwatch | Exception]) -> list[MemberStopwatch]:
    for each in stopwatches:
        if isinstance(each, Exception):
            raise each
    return stopwatches  # type: ignore[return-value]


def seconds_together(stopwatches: Sequence[MemberStopwatch], steps: int) -> float:
    """From when all runs are ready until the last has ended, their validations not counted."""
    for each in stopwatches:
        each.seconds_per_step(steps)  # raises ValueError for another number of steps
    ready = max(each.started for each in stopwatches)
    validating = sum(each.validating() for each in stopwatches)
    return max(each.ended for each in stopwatches) - ready - validating
