"""What Hydra calls around a multirun and its runs."""

import logging
import os
import sys
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, ClassVar

from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobReturn, JobStatus
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from runlab.cli.loading import loading
from runlab.config.arguments import is_sweep
from runlab.config.fingerprint import key_of
from runlab.config.messages import is_user_error, user_message
from runlab.config.run_name import LAUNCH, as_given
from runlab.config.schema import MOST, check_count
from runlab.launchers.kinds import trains_here
from runlab.sweeps.live import LiveLine
from runlab.text import printable

log = logging.getLogger(__name__)

MOST_TRIALS = 1_000_000


class SweepCallback(Callback):
    """Hydra's callback; Hydra turns an Exception that it raises into a warning, so it does little.

    It refuses by SystemExit what no command can be launched with, before the first file is made.
    """

    folder: Path | None = None  # of the multirun that this process launched
    has_begun = False  # whether runs have been launched, which the same command goes on with
    overwrites = False  # whether that command starts all over instead
    detached = False  # whether its runs go on elsewhere, without it
    started = ExitStack()  # what ends with it
    told: ClassVar[set[str]] = set()  # why runs of this process failed

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        with stop_at_mistakes():
            check_single_run(config.hydra)
        begin(config)

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        HydraConfig.instance().set_config(config)  # a sweep's name may hold ${hydra:…}
        with stop_at_mistakes():
            check_multirun(config.hydra)
            SweepCallback.folder = Path(config.hydra.sweep.dir).absolute()
        os.environ[LAUNCH] = uuid.uuid4().hex
        begin(config)
        is_elsewhere = not trains_here(config.hydra.launcher)
        SweepCallback.started.enter_context(LiveLine(SweepCallback.folder, is_elsewhere))

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        study = Path(config.hydra.sweep.dir) / "optimization_results.yaml"
        if "direction" in config.hydra.sweeper and study.exists():
            # of which nothing is resolved
            best: Any = OmegaConf.to_container(OmegaConf.load(study))
            values = " ".join(f"{key}={value}" for key, value in best["best_params"].items())
            best_so_far = config.objective, best["best_value"], printable(values)
            log.info("\nbest %s: %.4f with %s", *best_so_far)

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **kwargs: Any) -> None:
        multirun = config.hydra.mode is RunMode.MULTIRUN
        if multirun and job_return.status is JobStatus.FAILED:
            name = Path(config.hydra.runtime.output_dir).name
            error = job_return._return_value
            where = "" if is_user_error(error) else f" ({type(error).__name__}, see traceback.txt)"
            said = user_message(error).replace(name, "…")
            level = logging.DEBUG if said in self.told else logging.ERROR
            self.told.add(said)
            log.log(level, "%s: failed: %s%s", name, user_message(error), where)


def begin(config: DictConfig) -> None:
    """Loads what trains, now that the configuration is composed: it is asked for a run's name."""
    SweepCallback.overwrites = config.get("overwrite") is True
    with loading():
        import runlab.train  # noqa: F401
    SweepCallback.has_begun = True


def check_single_run(hydra: DictConfig) -> None:
    """Raises ValueError for what runs could not stand."""
    if hydra.job.chdir:
        raise ValueError(
            "expected hydra.job.chdir=false, got true: data_dir and logs/ lie where the command "
            "was started, and all runs of a process share its working directory; what a run "
            "writes goes to ${run.folder}"
        )


def check_multirun(hydra: DictConfig) -> None:
    """Raises ValueError for what runs could not stand, or more processes than can be started."""
    check_single_run(hydra)
    n_jobs = hydra.launcher.get("n_jobs", 1)  # joblib's; -1 is one for each core
    check_count("hydra.launcher.n_jobs", n_jobs, least=-MOST)
    if n_jobs == 0:
        raise ValueError(
            "expected hydra.launcher.n_jobs to be a number of processes, or -1 for one a core, got "
            "0: give another"
        )
    for key, most in (("n_jobs", MOST), ("n_trials", MOST_TRIALS), ("max_batch_size", MOST_TRIALS)):
        if hydra.sweeper.get(key) is not None:
            check_count(f"hydra.sweeper.{key}", hydra.sweeper[key], most=most)
    params: Any = OmegaConf.to_container(hydra.sweeper.params or OmegaConf.create())
    given = [*as_given(hydra.overrides.task), *(f"{k}={v}" for k, v in params.items())]
    if any(key_of(each) == "name" and is_sweep(each) for each in given):
        raise ValueError(
            "expected one name for all runs of a sweep, got several: launch them apart"
        )


@contextmanager
def stop_at_mistakes() -> Iterator[None]:
    """Raises SystemExit with one sentence, which Hydra lets through."""
    try:
        yield
    except Exception as error:
        if not is_user_error(error):
            raise
        sys.exit(user_message(error))
