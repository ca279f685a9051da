"""Hydra's sweeper for a grid of values, which launches only what is left of it."""

import logging
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf

from runlab.config.fingerprint import key_of, watchers_of
from runlab.config.run_name import SWEEP_SIZE, SWEPT_KEYS
from runlab.launchers.kinds import trains_here
from runlab.runs import alike, record
from runlab.sweeps.composition import Composer
from runlab.sweeps.jobs import Job, covering, first_alike, identifying, swept_keys
from runlab.text import plural

if TYPE_CHECKING:
    from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
else:  # Hydra loads its plugins anew: who derives from one outside of them derives from an old one
    BasicSweeper = object

log = logging.getLogger(__name__)


def require_values(overrides: Sequence[Override]) -> None:
    """Raises ValueError for a sweep over no value, and over an interval, of which a grid has none.

    A sweep of no run would end well, without a word.
    """
    for each in overrides:
        if each.is_interval_sweep():
            raise ValueError(
                f"expected values to try, as in {each.key_or_group}=0.01,0.1, got "
                f"{each.input_line}: an interval is for a sweeper that chooses in it, such as "
                "hydra/sweeper=optuna"
            )
        if each.is_discrete_sweep() and not has_values(each):
            hint = ": range(0,3) is 0, 1, 2" if each.is_range_sweep() else ": name some"
            raise ValueError(
                f"expected at least one value of {each.key_or_group}, got none by "
                f"{each.input_line}{hint}"
            )


def has_values(override: Override) -> bool:
    try:
        return any(True for _ in override.sweep_string_iterator())
    except ValueError:  # of a range whose step is 0
        return False


class GridSweeperMixin(BasicSweeper):
    """Runs what is left of a grid, after composing each value of each override once.

    Mixed into Hydra's basic sweeper, in `hydra_plugins`.

    The basic sweeper composes every run's configuration beforehand, and the launcher composes it
    again: at 0.14 s each, 300 runs waited 40 s for the first. A choice or a key that does not
    exist is found as well by composing each value in one run.
    """

    def split_arguments(  # type: ignore[override]  # a static method there, called as a method
        self, overrides: list[Override], max_batch_size: int | None
    ) -> list[list[list[str]]]:
        require_values(overrides)
        [every] = super().split_arguments(overrides, None)
        jobs = self.different(every)
        if len(jobs) < len(every):
            same = plural(len(every) - len(jobs), "run")
            log.info("%s of %d left out: others give the same result", same, len(every))
        os.environ[SWEPT_KEYS] = ",".join(sorted(swept_keys(jobs)))
        left = self.not_ended(jobs)
        if ended := len(jobs) - len(left) - len(self.failed):
            log.info("%d of %d runs have ended already", ended, len(jobs))
        self.tell_failed()
        self.require_legal(left)
        size = max_batch_size or len(left) or 1
        return [list(chunk) for chunk in self.split_overrides_to_chunks(left, size)]

    def different(self, jobs: Sequence[list[str]]) -> list[list[str]]:
        """One job of each run: `optimizer.lr=1,1.0` and `seed=0,0` give the same one twice."""
        assert self.config is not None
        first = first_alike(jobs, watchers_of(self.config))
        return [jobs[index] for index in dict.fromkeys(first)]

    def not_ended(self, jobs: Sequence[list[str]]) -> list[list[str]]:
        """Saves the launcher from starting processes, or a cluster's jobs, that find nothing to do.

        `train` has the last word: only what looks as if it had ended is composed, and asked there.
        """
        assert self.config is not None
        if re.search(r"hydra[.:]job\.", str(OmegaConf.to_container(self.config.hydra.sweep))):
            return list(jobs)  # folders by number: who leaves one out gives the others its folder
        watchers = watchers_of(self.config)
        over = {
            identifying(entry["overrides"], watchers): folder
            for folder, entry in alike.readable(Path(self.config.hydra.sweep.dir))
            if entry["status"] in (*record.ENDED, "failed")
        }
        return [
            job for job in jobs
            if (folder := over.get(identifying(job, watchers))) is None
            or not self.is_over(job, folder)
        ]  # fmt: skip

    def is_over(self, job: Job, folder: Path) -> bool:
        """Whether this folder holds the job's run, and nothing is left to train of it.

        Raises:
            SystemExit: if it failed before, and such a run is to stop the sweep.
        """
        # seconds; Hydra imports its plugins even for --help
        from runlab.runs.lifecycle import is_done
        from runlab.runs.previous import FailedBeforeError

        template = self.composer.template(job, folder)
        with template.in_use():
            try:
                return is_done(template.config, lambda _: template.resolved(), self.checksum_of)
            except FailedBeforeError as error:
                if template.config.fail_fast:
                    raise SystemExit(f"{folder.name}: {error} (fail_fast)") from error
                self.failed[folder.name] = error
                return True

    def checksum_of(self, config: DictConfig) -> str | None:
        """That of a run's data, asked for once of all runs with the same settings of data."""
        # seconds, as above
        from runlab.components import data_checksum

        settings = repr(OmegaConf.to_container(config.data, resolve=True))
        if settings not in self.checksums:
            self.checksums[settings] = data_checksum(config)
        return self.checksums[settings]

    def tell_failed(self) -> None:
        """Of runs that failed alike, the first."""
        told = set()
        for name, error in self.failed.items():
            if (alike := str(error).replace(name, "…")) not in told:
                told.add(alike)
                log.error("%s: failed: %s", name, error)

    def sweep(self, arguments: list[str]) -> Any:
        """Raises ValueError in the end if a run failed before, as if it had failed now."""
        assert self.config is not None
        assert self.hydra_context is not None
        self.failed: dict[str, ValueError] = {}
        self.checksums: dict[str, str | None] = {}
        self.composer = Composer(self.hydra_context, self.config)
        returned = super().sweep(arguments)
        for error in self.failed.values():
            raise error
        return returned

    def get_job_batch(self) -> Sequence[Job]:
        os.environ[SWEEP_SIZE] = str(sum(len(batch) for batch in self.overrides or []))
        return super().get_job_batch()

    def validate_batch_is_legal(self, batch: Sequence[Job]) -> None:
        """Has been done for all batches, before the first file was made."""

    def require_legal(self, jobs: Sequence[Job]) -> None:
        """Raises ValueError, or Hydra's own, for what no run can be trained with.

        That is a choice or a key that does not exist, a value that cannot be, and a device that is
        not there, where runs are trained here: whatever can be known before anything is built.
        """
        from runlab.config.messages import user_message
        from runlab.runs.lifecycle import check_settings

        assert self.config is not None
        is_here = trains_here(self.config.hydra.launcher)
        for job in covering(jobs):
            try:
                template = self.composer.template(job, Path(self.config.hydra.sweep.dir))
                with template.in_use():
                    check_settings(template.config, is_here)
            except HydraException as error:
                group = str(getattr(error.__cause__, "full_key", "")).partition(".")[0]
                if not (choices := [each for each in job if key_of(each) == group]):
                    raise
                raise ValueError(f"{choices[0]}: {user_message(error)}") from error
