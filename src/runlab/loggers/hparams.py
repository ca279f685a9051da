"""What loggers are told of a run besides its curves: what it is, and how it ended.

To TensorBoard's HParams a run is a session: a row of its table. Its columns are best left to it:
the `Experiment` that could name them is taken from whichever run TensorBoard finds first, which
hides what a sweep that was extended, or another one beside it, varies in addition. Without one
they are whatever any run has, with its type and domain, and every scalar; of these it shows the
first five by name. `result` gives each run those, finite also where it diverged.
"""

import logging
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from time import time
from typing import Any

import lightning as L
import yaml
from lightning.pytorch.loggers import TensorBoardLogger
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.hparams import metadata
from tensorboard.plugins.hparams.api_pb2 import STATUS_FAILURE, STATUS_SUCCESS
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData, SessionEndInfo
from tensorboard.plugins.hparams.summary_v2 import hparams_pb
from tensorboard.plugins.text.summary_v2 import text_pb

from runlab import program
from runlab.config.fingerprint import flatten, key_of
from runlab.loggers.services import close_service_runs
from runlab.loggers.tensorboard import RunTensorBoardLogger
from runlab.measure import Measure
from runlab.module import Module
from runlab.text import piped

log = logging.getLogger(__name__)


class HParamsLogger(L.Callback):
    """Tells the loggers what the run is once it trains, and if it fails.

    One that is stopped stays without an end, as if it were still training. It writes only in
    the process that trains: a writer that was opened before cannot follow into it.
    """

    def __init__(self, folder: Path, entry: Mapping[str, Any], hparams: dict[str, Any]) -> None:
        self.folder = folder
        self.entry = entry
        self.hparams = hparams

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        started = datetime.fromisoformat(self.entry["timing"]["started"]).timestamp()
        for logger in trainer.loggers:
            logger.log_hyperparams(self.hparams)
        trial = trial_name(self.hparams, self.folder.parent.name)
        add_summary(trainer, hparams_pb(self.hparams, trial_id=trial, start_time_secs=started))
        for name, text in description(self.entry, self.folder).items():
            add_summary(trainer, text_pb(f"run/{name}", text))

    def on_exception(
        self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException
    ) -> None:
        if isinstance(exception, Exception) and not isinstance(exception, OSError):  # a full disk
            try:
                add_summary(trainer, session_end(STATUS_FAILURE))
                # other ranks may not have failed
                if trainer.world_size == 1 and isinstance(pl_module, Module):
                    pl_module.metric_buffer.flush(trainer)
            except Exception as error:  # a device that failed lets nothing be read
                log.warning("curves end before the failure, as they could not be read: %s", error)
        close_service_runs(trainer.loggers, exit_code=1)


def trial_name(hparams: Mapping[str, Any], sweep: str) -> str:
    """The name of a run's row: HParams sorts by it and shows a hundred, so the seed comes first.

    The first page of a large sweep then holds every arm. No two runs may share it, also of two
    sweeps: HParams shows the mean of those that do.
    """
    values = {"seed": hparams["seed"]} | dict(hparams)
    return f"{','.join(f'{key}={value}' for key, value in values.items())} ({sweep})"


def log_result(
    trainer: L.Trainer,
    measures: Sequence[Measure],
    metrics: Mapping[str, Any],
    final: Mapping[str, float],
) -> None:
    """How good the run's weights are, and that it has ended.

    Args:
        measures: what runs are compared by, the primary one first.
        metrics: of the best checkpoint, or of the last weights where none was kept.
        final: `val/*` of the last validation of the training.
    """
    for logger in trainer.loggers:
        logger.log_metrics(result(measures, metrics, final), step=trainer.global_step)
    add_summary(trainer, session_end(STATUS_SUCCESS))
    for logger in trainer.loggers:
        logger.finalize("success")
        if isinstance(logger, RunTensorBoardLogger):
            logger.close()
    close_service_runs(trainer.loggers, exit_code=0)


def result(
    measures: Sequence[Measure], metrics: Mapping[str, Any], final: Mapping[str, float]
) -> dict[str, float]:
    """`best/*` and `final/*`: the primary metric on validation, and the epochs of those weights.

    With them the measures of the best weights on test data, and nothing else that a module logs
    there. Without validation there is no metric of it.
    """
    primary = measures[0].name
    epochs = metrics["epochs"]  # 1.4 if the run ended within its second one
    best = min(metrics.get("best_epoch", epochs) + 1, epochs)
    names = [f"test/{each.name}" for each in measures]
    test = {name: metrics[name] for name in names if name in metrics}
    values = {
        f"best/{primary}": metrics.get(f"val/{primary}"),
        "best/epochs": best,
        f"final/{primary}": final.get(f"val/{primary}"),
        "final/epochs": epochs,
    }
    return {name: value for name, value in values.items() if value is not None} | test


def session_end(status: int) -> Summary:
    end = SessionEndInfo(status=status, end_time_secs=time())
    data = metadata.create_summary_metadata(HParamsPluginData(session_end_info=end))
    value = Summary.Value(
        tag=metadata.SESSION_END_INFO_TAG, metadata=data, tensor=metadata.NULL_TENSOR
    )
    return Summary(value=[value])


def add_summary(trainer: L.Trainer, summary: Summary) -> None:
    """Writes at step 0 what only TensorBoard understands."""
    for logger in trainer.loggers:
        if trainer.is_global_zero and isinstance(logger, TensorBoardLogger):
            logger.experiment._get_file_writer().add_summary(summary, 0)


LAUNCH_KEYS = {"name", "overwrite", "retry", "fail_fast", "detach"}


def description(entry: Mapping[str, Any], folder: Path) -> dict[str, str]:
    """Markdown by its subject.

    Args:
        entry: the run's record.
        folder: the run's; it lies in its sweep's.
    """
    again = f"{entry['config']['name']}-again"
    return {
        "command": (
            f"Trains this run again on its own, into `logs/{again}`:\n\n"
            f"{fenced('sh', rerun_command(entry['overrides'], again))}"
        ),
        "comparison": (
            f"What the sweep says, once it has ended: open\n\n"
            f"{fenced('', str(folder.parent / 'comparison' / 'comparison.html'))}\n\n"
            "Before that, or without it:\n\n"
            f"{fenced('sh', program.command('compare', str(folder.parent)))}"
        ),
        "configuration": fenced("yaml", yaml.safe_dump(entry["config"], sort_keys=False)),
        "provenance": "\n".join(piped(["", "of this run"], provenance_rows(entry))),
    }


def rerun_command(overrides: Iterable[str], name: str) -> str:
    """The command line for a run of its own with these overrides, in another sweep."""
    own = [each for each in overrides if key_of(each) not in LAUNCH_KEYS]
    return program.command("train", *own, f"name={name}")


def provenance_rows(entry: Mapping[str, Any]) -> list[list[str]]:
    """What it trains on, a row each; not what it trained on before it was resumed elsewhere."""
    now = {key: value for key, value in entry["provenance"].items() if key != "earlier"}
    rows = {"started": entry["timing"]["started"], "data": now.pop("data")} | flatten(now)
    return [[name, str(value)] for name, value in rows.items()]


def fenced(language: str, text: str) -> str:
    return f"```{language}\n{text.strip()}\n```"
