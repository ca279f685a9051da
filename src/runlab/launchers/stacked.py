"""What Hydra's launchers of stacks share: which runs of a sweep train together."""

import logging
from collections import defaultdict
from collections.abc import Collection, Generator, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from hydra.core.hydra_config import HydraConfig
from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, JobStatus, configure_log, run_job, setup_globals
from omegaconf import DictConfig, open_dict

from runlab.config.axes import LEARNING_RATES, Axes
from runlab.config.fingerprint import key_of, watchers_of
from runlab.config.schema import check_count
from runlab.launchers.part import Job, LostPartError, Outcome, Part, Stopped
from runlab.sweeps.callback import SweepCallback
from runlab.sweeps.composition import Composer
from runlab.sweeps.jobs import first_alike, setting, swept_keys
from runlab.text import plural

if TYPE_CHECKING:
    from hydra._internal.core_plugins.basic_launcher import BasicLauncher
else:  # Hydra loads its plugins anew: who derives from one outside of them derives from an old one
    BasicLauncher = object

log = logging.getLogger(__name__)

Result = list[Outcome] | Stopped | LostPartError
"""Of a part."""

LARGEST_STACK = 1_000
"""Runs; each has a thread of its own."""

STACKED_KEYS = ("seed", "optimizer.lr")
"""Runs that differ in these alone may train together, whatever their arms are."""

RATE_GROUPS = ("optimizer", "scheduler", "parameter_groups", "module")
"""Groups whose learning rates are those of an optimizer's steps: a stack takes one for each run."""


class StackedMixin(BasicLauncher):
    """Trains the runs that differ in seed and learning rate alone as one batched computation.

    What it divides a sweep into, `execute` trains: each launcher has its own way. Mixed into
    Hydra's basic launcher, in `hydra_plugins`.

    Args:
        size: the most runs that train together.
        compile: a backend of `torch.compile` for their common steps; None compiles nothing.
    """

    detaches = False
    """Whether its runs go on without the command that launched them."""

    def __init__(self, size: int, compile: str | None) -> None:
        super().__init__()
        check_count("hydra.launcher.size", size, most=LARGEST_STACK)
        if compile is not None:
            check_backend(compile)
        self.size, self.compile = size, compile

    def execute(self, parts: Sequence[Part]) -> Generator[tuple[int, Result]]:
        """The result of each part, by its number, as they come."""
        raise NotImplementedError

    def at_a_time(self, jobs: Sequence[Job]) -> int:
        """How many stacks train at a time: runs alike are divided among them."""
        return 1

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        assert self.config is not None
        setup_globals()
        configure_log(self.config.hydra.hydra_logging, self.config.hydra.verbose)
        require_attached(self.config, self.detaches)
        Path(str(self.config.hydra.sweep.dir)).mkdir(parents=True, exist_ok=True)
        first = first_alike(job_overrides, watchers_of(self.config))
        jobs = [Job(initial_job_idx + i, job_overrides[i]) for i in dict.fromkeys(first)]
        outcomes = self.train_all(jobs)
        if SweepCallback.detached:
            return []
        for number in sorted(outcomes):
            if isinstance(outcome := outcomes[number], Exception):
                raise outcome  # a run's own is in its JobReturn; this one is Hydra's
        # jobs alike share one run's result
        return [outcomes[initial_job_idx + i] for i in first]  # type: ignore[misc]

    def train_all(self, jobs: Sequence[Job]) -> dict[int, Outcome]:
        """The outcome of each run, by its number."""
        assert self.config is not None
        at_a_time = self.at_a_time(jobs)
        keys = stacked_keys(Axes.of(self.config))
        groups = group_jobs([job.overrides for job in jobs], self.size, at_a_time, keys)
        state = Singleton.get_state()
        parts = [Part(self.train, [jobs[i] for i in group], state) for group in groups]
        if jobs and jobs[0].number == 0:
            swept = swept_keys([job.overrides for job in jobs])
            stacks = describe_stacks(len(jobs), len(parts), swept, min(at_a_time, len(parts)), keys)
            log.info("%s", stacks)
        outcomes: dict[int, Outcome] = {}
        with closing(self.execute(parts)) as results:
            for number, result in results:
                outcomes |= outcomes_of(parts[number].jobs, result)
        return outcomes

    def train(self, jobs: Sequence[Job], cores: int | None = None) -> list[Outcome]:
        """Trains together, in this process, on so many cores or on all that it may use."""
        from runlab.stacks import available_cores, train_together

        assert self.config is not None
        assert self.hydra_context is not None
        composer = Composer(self.hydra_context, self.config)
        tasks = [partial(self.run, composer, *job) for job in jobs]
        try:
            outcomes = train_together(tasks, self.size, self.compile, cores or available_cores())
            return [
                self.run(composer, *job) if self.lacks_result(outcome) else outcome
                for job, outcome in zip(jobs, outcomes, strict=True)
            ]
        finally:
            configure_log(self.config.hydra.hydra_logging, self.config.hydra.verbose)

    def lacks_result(self, outcome: JobReturn | Exception) -> bool:
        """Whether another process was training a run whose result the sweeper needs."""
        assert self.config is not None
        return (
            isinstance(outcome, JobReturn)
            and outcome.status is JobStatus.COMPLETED
            and outcome.return_value is None
            and self.config.objective is not None
        )

    def run(self, composer: Composer, number: int, overrides: Sequence[str]) -> JobReturn:
        """What Hydra's basic launcher does for one job."""
        assert self.config is not None
        assert self.hydra_context is not None
        assert self.task_function is not None
        config = composer.compose(overrides)
        with open_dict(config):
            config.hydra.job.id = number
            config.hydra.job.num = number
        try:
            return run_job(
                hydra_context=self.hydra_context,
                task_function=self.task_function,
                config=config,
                job_dir_key="hydra.sweep.dir",
                job_subdir_key="hydra.sweep.subdir",
            )
        finally:
            for handler in logging.root.handlers:
                handler.close()  # Hydra leaves that to the next run, which has handlers of its own


def describe_stacks(
    runs: int,
    stacks: int,
    swept: Collection[str],
    processes: int,
    stacked: Collection[str] = STACKED_KEYS,
) -> str:
    """`20 runs in 4 stacks, apart where they differ in loss, 2 at a time`."""
    text = f"{plural(runs, 'run')} in {plural(stacks, 'stack')}"
    apart = sorted(set(swept) - set(stacked))
    if stacks > 1 and apart:
        text += f", apart where they differ in {', '.join(apart)}"
    return text if processes == 1 else f"{text}, {processes} at a time"


def outcomes_of(jobs: Sequence[Job | None], result: Result) -> dict[int, Outcome]:
    """By each run's number; what the end of its part means for a run.

    Raises:
        SystemExit: if a run that failed is to stop the sweep.
    """
    if isinstance(result, Stopped):
        raise SystemExit(result.sentence)
    if isinstance(result, LostPartError):
        runs = [job for job in jobs if job is not None]
        what = f"a stack of {plural(len(runs), 'run')} is lost"
        error = LostPartError(f"{what}: {result}; the same command goes on with what is left")
        log.error("%s", error)
        return {job.number: error for job in runs}
    pairs = zip(jobs, result, strict=True)
    return {job.number: outcome for job, outcome in pairs if job is not None}


def require_attached(config: DictConfig, detaches: bool) -> None:
    """Raises ValueError for `detach=true` where runs end with the command, or give results."""
    if not config.detach:
        return
    if not detaches:
        raise ValueError(
            "expected detach=true with hydra/launcher=stacked_slurm, whose jobs go on by "
            f"themselves, got {HydraConfig.get().runtime.choices['hydra/launcher']}: leave it out"
        )
    if config.objective is not None:
        raise ValueError(
            "expected detach=false for a sweeper that chooses runs by the results of others, got "
            "true: leave it out"
        )


def check_backend(name: str) -> None:
    """Raises ValueError for one that torch.compile does not have."""
    from runlab.cli.loading import loading

    with loading():
        from torch._dynamo import list_backends

    if name not in list_backends(exclude_tags=()):
        raise ValueError(
            "expected hydra.launcher.compile to be null or a backend of torch.compile "
            f"({', '.join(list_backends())}), got {name}"
        )


def stacked_keys(axes: Axes) -> set[str]:
    """With the rate that runs are compared over, if it is a learning rate of an optimizer's."""
    group, _, last = (axes.rate or "").rpartition(".")
    is_learning_rate = last in LEARNING_RATES and group.partition(".")[0] in RATE_GROUPS
    return {*STACKED_KEYS, *([str(axes.rate)] if is_learning_rate else [])}


def group_jobs(
    jobs: Sequence[Sequence[str]],
    size: int,
    processes: int = 1,
    stacked: Collection[str] = STACKED_KEYS,
) -> list[list[int]]:
    """Indices of the jobs that may train together, at most so many in each group."""
    from runlab.stacks import partition_runs

    alike = defaultdict(list)
    for index, overrides in enumerate(jobs):
        others = {setting(each) for each in overrides if key_of(each) not in stacked}
        alike[frozenset(others)].append(index)
    return [
        [indices[i] for i in part]
        for indices in alike.values()
        for part in partition_runs(len(indices), size, processes)
    ]
