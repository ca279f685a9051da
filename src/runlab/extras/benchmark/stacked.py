"""Runs of this template that train together: how long a step of one takes, and on what."""

import logging
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import mean
from typing import Any

import lightning as L
import torch
from joblib import Parallel, delayed
from omegaconf import DictConfig, OmegaConf

from runlab.extras.benchmark.baselines import Template
from runlab.extras.benchmark.results import TimeBreakdown
from runlab.extras.benchmark.timing import Stopwatch, clock
from runlab.stacks import available_cores, partition_runs
from runlab.stacks.launch import in_stack
from runlab.stacks.scheduler import Scheduler
from runlab.stacks.tasks import run_cooperatively
from runlab.text import plural


class StackedRuns:
    """Seconds are for a step of one run: those of all, divided by their number.

    Args:
        processes: at most so many, each with a part of the runs and of the cores.

    Attributes:
        breakdown: of each `run`.
    """

    def __init__(
        self,
        cfg: DictConfig,
        steps_per_epoch: int,
        runs: int,
        device: torch.device,
        processes: int = 1,
    ) -> None:
        self.name = f"{Template.name}, {plural(runs, 'run')} stacked"
        self.parts = partition_runs(runs, runs, processes)
        number = len(self.parts)
        where = f"in {number} processes" if number > 1 else "in one process"
        self.description = (
            f"{plural(runs, 'run')} of {Template.name}, a seed each, as hydra/launcher=stacked "
            f"trains them, on all cores {where}; time for a step of one run"
        )
        self.template, self.runs, self.device = Template(cfg, steps_per_epoch), runs, device
        self.threads = max(available_cores() // number, 1)
        self.breakdown: list[TimeBreakdown] = []

    def run(self, steps: int) -> float:
        with tempfile.TemporaryDirectory() as folder:
            cfgs = [self.configure(steps, seed, f"{folder}/{seed}") for seed in range(self.runs)]
            parts = [[cfgs[i] for i in part] for part in self.parts]
            if len(parts) == 1:
                stacks = [self.train(cfgs, steps)]
            else:
                stacks = Parallel(n_jobs=len(parts))(
                    delayed(self.train)(part, steps) for part in parts
                )
        seconds, steps_of_all = seconds_of_all(stacks), steps * self.runs
        compute = mean(each.compute for each in stacks)
        loop = mean(each.loop for each in stacks)
        self.breakdown.append(
            TimeBreakdown(
                compute=compute / steps_of_all,
                loop=loop / steps_of_all,
                other=(seconds - compute - loop) / steps_of_all,
            )
        )
        return seconds / steps_of_all

    def configure(self, steps: int, seed: int, folder: str) -> DictConfig:
        cfg = self.template.configure(steps, folder)
        cfg.seed = seed
        OmegaConf.resolve(cfg)  # what Hydra fills in is not known in other processes
        return cfg

    def train(self, cfgs: Sequence[DictConfig], steps: int) -> "StackTime":
        """One stack."""
        # where Hydra has not set up logging, which is in another process
        logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
        runs = [in_stack(partial(self.template.train, cfg, MemberStopwatch())) for cfg in cfgs]
        compute = TimedFunction(Scheduler(len(cfgs), threads=self.threads).compute, self.device)
        stopwatches = raise_first_error(run_cooperatively(runs, compute))
        return time_of_stack(stopwatches, compute, steps)


class TimedFunction:
    """A function that notes when it was called and when it returned, the device idle.

    Attributes:
        calls: the clock's readings at start and end of each call.
    """

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
    """That of one of several runs: also notes when the run waits for its steps to be computed.

    Attributes:
        waiting: how the run asks for a block of steps; meanwhile the others run.
        alone: how it takes the steps of a block that was not computed with the others'.
    """

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        module: Any = pl_module
        self.waiting = TimedFunction(module.stack, pl_module.device)
        self.alone = TimedFunction(module.take_steps, pl_module.device)
        module.stack, module.take_steps = self.waiting, self.alone
        super().on_train_start(trainer, pl_module)

    def validation(self) -> float:
        """Seconds of its validations."""
        return self.ended - self.started - self.seconds

    def loop(self, since: float) -> float:
        """Seconds that the run itself ran, but for steps and validation, after a reading."""
        return self.ended - since - self.waiting.seconds(since) - self.validation()


def raise_first_error(stopwatches: Sequence[MemberStopwatch | Exception]) -> list[MemberStopwatch]:
    for each in stopwatches:
        if isinstance(each, Exception):
            raise each
    return stopwatches  # type: ignore[return-value]


@dataclass(frozen=True)
class StackTime:
    """When a stack's runs were all ready and the last had ended, and seconds of what lay between.

    Readings of one clock, also those of several processes.
    """

    ready: float
    ended: float
    compute: float
    loop: float
    validation: float


def time_of_stack(
    stopwatches: Sequence[MemberStopwatch], compute: TimedFunction, steps: int
) -> StackTime:
    for each in stopwatches:
        each.seconds_per_step(steps)  # raises ValueError for another number of steps
    ready = max(each.started for each in stopwatches)
    alone = sum(each.alone.seconds(ready) for each in stopwatches)
    return StackTime(
        ready=ready,
        ended=max(each.ended for each in stopwatches),
        compute=compute.seconds(ready) + alone,
        loop=sum(each.loop(ready) for each in stopwatches),
        validation=sum(each.validation() for each in stopwatches),
    )


def seconds_of_all(stacks: Sequence[StackTime]) -> float:
    """From when the first stack is ready until the last has ended, validation not counted.

    Of several stacks, the shortest validation: what they do at once is not counted twice.
    """
    ready, ended = min(each.ready for each in stacks), max(each.ended for each in stacks)
    return ended - ready - min(each.validation for each in stacks)
