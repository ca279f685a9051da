"""What Hydra calls around a multirun and its runs."""

import logging
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobReturn, JobStatus
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from runlab.config.messages import is_user_error, user_message
from runlab.text import printable

log = logging.getLogger(__name__)


class SweepCallback(Callback):
    """Hydra's callback; Hydra turns whatever it raises into a warning, so it does little."""

    folder: Path | None = None  # of the multirun that this process launched

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        HydraConfig.instance().set_config(config)  # a sweep's name may hold ${hydra:…}
        SweepCallback.folder = Path(config.hydra.sweep.dir).absolute()

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
            log.error("%s: failed: %s%s", name, user_message(error), where)
