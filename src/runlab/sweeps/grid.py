"""Hydra's sweeper, quicker with many runs: it must live here, where Hydra looks for plugins."""

import logging
import os
from collections.abc import Sequence
from pathlib import Path

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.types import Override
from omegaconf import open_dict, read_write

from runlab.config.fingerprint import affects_result, key_of
from runlab.config.schema import SWEEP_SIZE, SWEPT
from runlab.runs import record

log = logging.getLogger(__name__)

Job = Sequence[str]  # its overrides


class GridSweeper(BasicSweeper):
    """Runs what is left of the grid, after composing each value of each override once.

    The basic sweeper composes every run's configuration beforehand, and the launcher composes it
    again: at 0.14 s each, 300 runs waited 40 s for the first. A choice or a key that does not
    exist is found as well by composing each value in one run.
    """

    def split_arguments(  # type: ignore[override]  # a static method there, called as a method
        self, overrides: list[Override], max_batch_size: int | None
    ) -> list[list[list[str]]]:
        [jobs] = BasicSweeper.split_arguments(overrides, None)
        os.environ[SWEPT] = ",".join(sorted(varying(jobs)))
        left = self.not_ended(jobs)
        if len(left) < len(jobs):
            log.info("%d of %d runs have ended already", len(jobs) - len(left), len(jobs))
        size = max_batch_size or len(left) or 1
        return [list(chunk) for chunk in self.split_overrides_to_chunks(left, size)]

    def not_ended(self, jobs: Sequence[list[str]]) -> list[list[str]]:
        """Saves the launcher from starting processes, or a cluster's jobs, that find nothing to do.

        `train` has the last word: only what looks as if it had ended is composed, and asked there.
        """
        assert self.config is not None
        known = {
            identifying(entry["overrides"])
            for _, entry in record.readable(Path(self.config.hydra.sweep.dir))
            if entry["status"] in record.ENDED
        }
        return [job for job in jobs if identifying(job) not in known or not self.has_ended(job)]

    def has_ended(self, job: Job) -> bool:
        from runlab.train import is_done  # seconds; Hydra imports its plugins even for --help

        assert self.config is not None
        assert self.hydra_context is not None
        config = self.hydra_context.config_loader.load_sweep_config(self.config, list(job))
        before = HydraConfig.instance().cfg
        HydraConfig.instance().set_config(config)
        try:
            folder = Path(config.hydra.sweep.dir) / config.hydra.sweep.subdir
            with read_write(config), read_write(config.hydra.runtime), open_dict(config):
                config.hydra.runtime.output_dir = str(folder.absolute())
                HydraConfig.instance().set_config(config)
                del config["hydra"]
            return is_done(config)
        finally:
            HydraConfig.instance().cfg = before

    def get_job_batch(self) -> Sequence[Job]:
        os.environ[SWEEP_SIZE] = str(sum(len(batch) for batch in self.overrides or []))
        return super().get_job_batch()

    def validate_batch_is_legal(self, batch: Sequence[Job]) -> None:
        super().validate_batch_is_legal(covering(batch))


def varying(jobs: Sequence[Job]) -> set[str]:
    """The keys that not all of them give the same value."""
    each = [set(overrides) for overrides in jobs]
    constant = set.intersection(*each) if each else set()
    return {key_of(override) for overrides in each for override in overrides - constant}


def identifying(overrides: Job) -> frozenset[str]:
    """Those of a run's overrides that its result may depend on."""
    return frozenset(each for each in overrides if affects_result(key_of(each)))


def covering(batch: Sequence[Job]) -> list[Job]:
    """Runs of the batch in which each override of it occurs."""
    seen: set[str] = set()
    chosen = []
    for overrides in batch:
        if not seen.issuperset(overrides):
            seen.update(overrides)
            chosen.append(overrides)
    return chosen
