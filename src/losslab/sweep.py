"""What Hydra calls around a multirun and its runs."""

import logging
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn, JobStatus
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig

from losslab.errors import is_mistake, sentence

log = logging.getLogger(__name__)


class Sweep(Callback):
    """Hydra's callback; Hydra turns whatever it raises into a warning, so it does little."""

    folder: Path | None = None  # of the multirun that this process launched

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        Sweep.folder = Path(config.hydra.sweep.dir).absolute()

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **kwargs: Any) -> None:
        multirun = config.hydra.mode is RunMode.MULTIRUN
        if multirun and job_return.status is JobStatus.FAILED:
            name = Path(config.hydra.runtime.output_dir).name
            error = job_return._return_value
            where = "" if is_mistake(error) else f" ({type(error).__name__}, see traceback.txt)"
            log.error("%s: failed: %s%s", name, sentence(error), where)
