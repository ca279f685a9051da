"""Hydra's launcher for runs that train together: it must live here, where Hydra looks for it."""

import logging
from collections import defaultdict
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from hydra._internal.core_plugins.basic_launcher import BasicLauncher
from hydra.core.utils import JobReturn, configure_log, run_job, setup_globals
from omegaconf import open_dict

NUMBERS = ("seed", "optimizer.lr")  # runs that differ in these alone may train together


class StackedLauncher(BasicLauncher):
    """Trains the runs that differ in seed and learning rate alone as one batched computation.

    Args:
        size: the most runs that train together.
        compile: a backend of `torch.compile` for their common steps; None: they are not compiled.
    """

    def __init__(self, size: int = 50, compile: str | None = None) -> None:
        super().__init__()
        if size < 1:
            raise ValueError(f"expected hydra.launcher.size of at least 1, got {size}")
        self.size, self.compile = size, compile

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        from losslab.stack import train_together  # seconds; Hydra imports plugins even for --help

        assert self.config is not None
        if self.compile is not None:
            check_backend(self.compile)
        setup_globals()
        configure_log(self.config.hydra.hydra_logging, self.config.hydra.verbose)
        Path(str(self.config.hydra.sweep.dir)).mkdir(parents=True, exist_ok=True)
        returned: dict[int, Any] = {}
        for jobs in groups(job_overrides, self.size):
            tasks = [partial(self.run, initial_job_idx + job, job_overrides[job]) for job in jobs]
            returned |= zip(jobs, train_together(tasks, self.size, self.compile), strict=True)
            configure_log(self.config.hydra.hydra_logging, self.config.hydra.verbose)
        for outcome in returned.values():
            if isinstance(outcome, Exception):
                raise outcome  # a run's own is in its JobReturn; this one is Hydra's
        return [returned[job] for job in range(len(job_overrides))]

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


def check_backend(name: str) -> None:
    """Raises ValueError for one that torch.compile does not have."""
    from torch._dynamo import list_backends

    if name not in list_backends(exclude_tags=()):
        raise ValueError(
            "expected hydra.launcher.compile to be null or a backend of torch.compile "
            f"({', '.join(list_backends())}), got {name}"
        )


def groups(jobs: Sequence[Sequence[str]], size: int) -> list[list[int]]:
    """Indices of the jobs that may train together, at most so many in each group."""
    alike = defaultdict(list)
    for index, overrides in enumerate(jobs):
        alike[frozenset(each for each in overrides if key(each) not in NUMBERS)].append(index)
    return [
        indices[start : start + size]
        for indices in alike.values()
        for start in range(0, len(indices), size)
    ]


def key(override: str) -> str:
    return override.lstrip("+~").partition("=")[0]
