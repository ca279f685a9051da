"""Hydra's launcher for runs that train together, in one process or in several."""

import logging
import pickle
from collections import defaultdict
from collections.abc import Collection, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, JobStatus, configure_log, run_job, setup_globals
from omegaconf import open_dict

from runlab.config.axes import LEARNING_RATES, Axes
from runlab.config.fingerprint import key_of, watchers_of
from runlab.config.schema import check_count
from runlab.sweeps.jobs import first_alike, setting, swept_keys
from runlab.text import plural

if TYPE_CHECKING:
    from hydra._internal.core_plugins.basic_launcher import BasicLauncher
else:  # Hydra loads its plugins anew: who derives from one outside of them derives from an old one
    BasicLauncher = object

log = logging.getLogger(__name__)

LARGEST_STACK = 1_000
"""Runs; each has a thread of its own."""

STACKED_KEYS = ("seed", "optimizer.lr")
"""Runs that differ in these alone may train together, whatever their arms are."""

RATE_GROUPS = ("optimizer", "scheduler", "parameter_groups", "module")
"""Groups whose learning rates are those of an optimizer's steps: a stack takes one for each run."""


class StackedLauncherMixin(BasicLauncher):
    """Trains the runs that differ in seed and learning rate alone as one batched computation.

    Mixed into Hydra's basic launcher, in `hydra_plugins`.

    Args:
        size: the most runs that train together.
        processes: how many stacks train at a time; None takes one for each core where runs are on
            the CPU, else one. Runs alike are divided among them, in stacks of at least five.
        compile: a backend of `torch.compile` for their common steps; None compiles nothing.
    """

    def __init__(
        self, size: int = 50, processes: int | None = None, compile: str | None = None
    ) -> None:
        super().__init__()
        check_count("hydra.launcher.size", size, most=LARGEST_STACK)
        if processes is not None:
            check_count("hydra.launcher.processes", processes)
        if compile is not None:
            check_backend(compile)
        self.size, self.processes, self.compile = size, processes, compile

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        assert self.config is not None
        setup_globals()
        configure_log(self.config.hydra.hydra_logging, self.config.hydra.verbose)
        Path(str(self.config.hydra.sweep.dir)).mkdir(parents=True, exist_ok=True)
        processes = self.processes or self.suitable_processes(job_overrides)
        first = first_alike(job_overrides, watchers_of(self.config))
        jobs = [Job(initial_job_idx + i, job_overrides[i]) for i in dict.fromkeys(first)]
        keys = stacked_keys(Axes.of(self.config))
        groups = group_jobs([job.overrides for job in jobs], self.size, processes, keys)
        parts = [[jobs[i] for i in group] for group in groups]
        processes = min(processes, len(parts))
        if initial_job_idx == 0:
            swept = swept_keys([job.overrides for job in jobs])
            log.info("%s", describe_stacks(len(jobs), len(parts), swept, processes, keys))
        if processes > 1:
            from joblib import Parallel, delayed  # 0.2 s; Hydra imports plugins even for --help

            state = Singleton.get_state()
            outcomes = Parallel(n_jobs=processes)(
                delayed(train_in_process)(self, state, part, processes) for part in parts
            )
        else:
            outcomes = [self.train(part) for part in parts]
        returned: dict[int, Any] = {}
        for part, own in zip(parts, outcomes, strict=True):
            returned |= zip((job.number for job in part), own, strict=True)
        for outcome in returned.values():
            if isinstance(outcome, Exception):
                raise outcome  # a run's own is in its JobReturn; this one is Hydra's
        return [returned[initial_job_idx + i] for i in first]  # jobs alike share one run's result

    def suitable_processes(self, jobs: Sequence[Sequence[str]]) -> int:
        """How many processes suit the machine and the device that runs are on."""
        import torch  # seconds, as above

        from runlab.stacks import available_cores

        assert self.hydra_context is not None
        if not jobs:
            return 1
        loader = self.hydra_context.config_loader
        config = loader.load_sweep_config(self.config, list(jobs[0]))  # type: ignore[arg-type]
        if config.data.get("num_workers", 0) > 0:
            return 1  # joblib's processes cannot start a DataLoader's
        on_cpu = config.trainer.get("accelerator") == "cpu" or not torch.accelerator.is_available()
        return available_cores() if on_cpu else 1

    def train(self, jobs: Sequence["Job"], processes: int = 1) -> list[JobReturn | Exception]:
        """Trains together, beside other processes of the same kind."""
        from runlab.stacks import available_cores, train_together

        assert self.config is not None
        tasks = [partial(self.run, *job) for job in jobs]
        threads = max(available_cores() // processes, 1)
        try:
            outcomes = train_together(tasks, self.size, self.compile, threads)
            return [
                self.run(*job) if self.lacks_result(outcome) else outcome
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

    def run(self, number: int, overrides: Sequence[str]) -> JobReturn:
        """What Hydra's basic launcher does for one job."""
        assert self.config is not None
        assert self.hydra_context is not None
        assert self.task_function is not None
        loader = self.hydra_context.config_loader
        config = loader.load_sweep_config(self.config, list(overrides))
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


class Job(NamedTuple):
    number: int
    overrides: Sequence[str]


def train_in_process(
    launcher: StackedLauncherMixin, state: Any, jobs: Sequence[Job], processes: int
) -> list[JobReturn | Exception]:
    """What Hydra needs in a new process, then `train`."""
    setup_globals()
    Singleton.set_state(state)
    outcomes = launcher.train(jobs, processes)
    for outcome in outcomes:
        if isinstance(outcome, JobReturn) and outcome.status is JobStatus.FAILED:
            outcome._return_value = picklable(outcome._return_value)
    return [picklable(each) if isinstance(each, Exception) else each for each in outcomes]


def picklable(error: Exception) -> Exception:
    """As it can leave a process: pickle keeps no exception's cause, and some not at all."""
    from runlab.config.messages import is_user_error, user_message

    if is_user_error(error):
        return ValueError(user_message(error))
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {user_message(error)}")
    return error


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
