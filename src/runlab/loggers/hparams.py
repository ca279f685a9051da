"""What loggers are told of a run besides its curves: what it is, and how it ended.

To TensorBoard's HParams a run is a session: a row of its table. Its columns are best left to it:
the `Experiment` that could name them is taken from whichever run TensorBoard finds first, which
hides what a sweep that was extended, or another one beside it, varies in addition. Without one
they are whatever any run has, with its type and domain, and every scalar; of these it shows the
first five by name. `result` gives each run those, finite also where it diverged.
"""

import logging
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from time import time
from typing import Any

import lightning as L
from lightning.pytorch.loggers import TensorBoardLogger, WandbLogger
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.hparams import metadata
from tensorboard.plugins.hparams.api_pb2 import STATUS_FAILURE, STATUS_SUCCESS
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData, SessionEndInfo
from tensorboard.plugins.hparams.summary_v2 import hparams_pb
from tensorboard.plugins.text.summary_v2 import text_pb

from runlab.loggers.description import description

log = logging.getLogger(__name__)


class Session(L.Callback):
    """Tells the loggers what the run is once it trains, and if it fails.

    One that is stopped stays without an end, as if it were still training. Whatever this writes
    comes from the process that trains: a writer opened before cannot follow into it.
    """

    def __init__(self, folder: Path, entry: Mapping[str, Any], swept: dict[str, Any]) -> None:
        self.folder = folder
        self.entry = entry
        self.swept = swept

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        started = datetime.fromisoformat(self.entry["timing"]["started"]).timestamp()
        for logger in trainer.loggers:
            logger.log_hyperparams(self.swept)
        trial = trial_of(self.swept, self.folder.parent.name)
        add(trainer, hparams_pb(self.swept, trial_id=trial, start_time_secs=started))
        for name, text in description(self.entry, self.folder).items():
            add(trainer, text_pb(f"run/{name}", text))

    def on_exception(
        self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException
    ) -> None:
        if isinstance(exception, Exception) and not isinstance(exception, OSError):  # a full disk
            try:
                add(trainer, ending(STATUS_FAILURE))
                if trainer.world_size == 1:  # other ranks may not have failed
                    pl_module.points.read(trainer)  # type: ignore[operator, union-attr]
            except Exception as error:  # a device that failed lets nothing be read
                log.warning("curves end before the failure, as they could not be read: %s", error)
        finish(trainer, exit_code=1)


def trial_of(swept: Mapping[str, Any], sweep: str) -> str:
    """The name of a run's row: HParams sorts by it and shows a hundred, so the seed comes first.

    The first page of a large sweep then holds every arm. No two runs may share it, also of two
    sweeps: HParams shows the mean of those that do.
    """
    values = {"seed": swept["seed"]} | dict(swept)
    return f"{','.join(f'{key}={value}' for key, value in values.items())} ({sweep})"


def log_result(trainer: L.Trainer, metrics: Mapping[str, Any], final: Mapping[str, float]) -> None:
    """How good the run's weights are, and that it has ended.

    Args:
        metrics: of the best checkpoint, or the final weights if the run diverged.
        final: `val/*` of the last validation of the training.
    """
    for logger in trainer.loggers:
        logger.log_metrics(result(metrics, final), step=trainer.global_step)
    add(trainer, ending(STATUS_SUCCESS))
    for logger in trainer.loggers:
        logger.finalize("success")
    finish(trainer, exit_code=0)


def result(metrics: Mapping[str, Any], final: Mapping[str, float]) -> dict[str, float]:
    """`best/*` and `final/*`: validation accuracy, and for how many epochs those weights trained.

    With them `test/*` of the best weights.
    """
    best_epoch = metrics.get("best_epoch")  # from 0; none is kept of a run that diverged
    best = metrics["epochs"] if best_epoch is None else best_epoch + 1
    test = {name: value for name, value in metrics.items() if name.startswith("test/")}
    del test["test/images"]
    return {
        "best/accuracy": metrics["val/accuracy"],
        "best/epochs": best,
        "final/accuracy": final["val/accuracy"],
        "final/epochs": metrics["epochs"],
    } | test


def ending(status: int) -> Summary:
    end = SessionEndInfo(status=status, end_time_secs=time())
    data = metadata.create_summary_metadata(HParamsPluginData(session_end_info=end))
    value = Summary.Value(
        tag=metadata.SESSION_END_INFO_TAG, metadata=data, tensor=metadata.NULL_TENSOR
    )
    return Summary(value=[value])


def add(trainer: L.Trainer, summary: Summary) -> None:
    """Writes at step 0 what only TensorBoard understands."""
    for logger in trainer.loggers:
        if trainer.is_global_zero and isinstance(logger, TensorBoardLogger):
            logger.experiment._get_file_writer().add_summary(summary, 0)


def finish(trainer: L.Trainer, exit_code: int) -> None:
    """Ends what Lightning leaves open until the process ends, which may train other runs too."""
    for logger in trainer.loggers:
        if isinstance(logger, WandbLogger) and logger._experiment is not None:
            logger._experiment.finish(exit_code)
