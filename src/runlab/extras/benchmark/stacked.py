"""Runs of losslab that train together: how long a step of one takes, and on what."""

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

from runlab.extras.benchmark.arithmetic import clock
from runlab.extras.benchmark.baselines import Stopwatch, Template
from runlab.extras.benchmark.results import StackTimes
from runlab.stacks import available_cores, partition_runs
from runlab.stacks.launch import in_stack
from runlab.stacks.scheduler import Scheduler
from runlab.stacks.tasks import run_cooperatively
from runlab.text import plural


class Stacked:
    """Seconds are for a step of one run: those of all, divided by their number.

    Args:
        processes: at most so many, each with a share of the runs and of the cores.
    """

    def __init__(
        self,
        cfg: DictConfig,
        steps_per_epoch: int,
        runs: int,
        device: torch.device,
        processes: int = 1,
    ) -> None:
        self.name = f"losslab, {plural(runs, 'run')} stacked"
        self.parts = partition_runs(runs, runs, processes)
        number = len(self.parts)
        where = f"in {number} processes" if number > 1 else "in one process"
        self.description = (
            f"{plural(runs, 'run')} of losslab, a seed each, as hydra/launcher=stacked trains "
            f"them, on all cores {where}; time for a step of one run"
        )
        self.alone, self.runs, self.device = Template(cfg, steps_per_epoch), runs, device
        self.threads = max(available_cores() // len(self.parts), 1)
        self.spent: list[StackTimes] = []
        """What went into each `run`."""

    def run(self, steps: int) -> float:
        with tempfile.TemporaryDirectory() as folder:
            cfgs = [self.alone.configured(steps, f"{folder}/{seed}") for seed in range(self.runs)]
            for seed, cfg in enumerate(cfgs):
                cfg.seed = seed
                OmegaConf.resolve(cfg)  # what Hydra fills in is not known in other processes
            parts = [[cfgs[i] for i in part] for part in self.parts]
            if len(parts) == 1:
                stacks = [self.train(cfgs, steps)]
            else:
                stacks = Parallel(n_jobs=len(parts))(
                    delayed(self.train)(part, steps) for part in parts
                )
        seconds, taken = seconds_of_all(stacks), steps * self.runs
        computing = mean(each.computing for each in stacks)
        looping = mean(each.looping for each in stacks)
        self.spent.append(
            StackTimes(
                computing=computing / taken,
                looping=looping / taken,
                rest=(seconds - computing - looping) / taken,
            )
        )
        return seconds / taken

    def train(self, cfgs: Sequence[DictConfig], steps: int) -> "Timed":
        """One stack."""
        # where Hydra has not set up logging, which is in another process
        logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
        runs = [in_stack(partial(self.alone.train, cfg, MemberStopwatch())) for cfg in cfgs]
        compute = Clocked(Scheduler(len(cfgs), threads=self.threads).compute, self.device)
        stopwatches = all_ended(run_cooperatively(runs, compute))
        return timed(stopwatches, compute, steps)


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
        module: Any = pl_module
        self.waiting = Clocked(module.stack, pl_module.device)
        self.alone = Clocked(module.take_steps, pl_module.device)
        module.stack, module.take_steps = self.waiting, self.alone
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


@dataclass(frozen=True)
class Timed:
    """When a stack's runs were all ready and the last had ended, and seconds of what lay between.

    Readings of one clock, also those of several processes.
    """

    ready: float
    ended: float
    computing: float
    looping: float
    validating: float


def timed(stopwatches: Sequence[MemberStopwatch], compute: Clocked, steps: int) -> Timed:
    for each in stopwatches:
        each.seconds_per_step(steps)  # raises ValueError for another number of steps
    ready = max(each.started for each in stopwatches)
    alone = sum(each.alone.seconds(ready) for each in stopwatches)
    return Timed(
        ready=ready,
        ended=max(each.ended for each in stopwatches),
        computing=compute.seconds(ready) + alone,
        looping=sum(each.looping(ready) for each in stopwatches),
        validating=sum(each.validating() for each in stopwatches),
    )


def seconds_of_all(stacks: Sequence[Timed]) -> float:
    """From when the first stack is ready until the last has ended, validation not counted.

    Of several stacks, the shortest validation: what they do at once is not counted twice.
    """
    ready, ended = min(each.ready for each in stacks), max(each.ended for each in stacks)
    return ended - ready - min(each.validating for each in stacks)
