"""Taking curves back to a checkpoint, so that a resumed run logs each step once."""

import csv
import io
from collections.abc import Iterable
from pathlib import Path

from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger
from tensorboard.backend.event_processing.event_file_loader import RawEventFileLoader
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.summary.writer.record_writer import RecordWriter

from runlab import atomic

LOGGED_AGAIN = ("best/", "final/", "test/", "run/", "_hparams_/")
"""First parts of what a run logs at its start or its end."""


def flush(logger: Logger) -> None:
    if isinstance(logger, TensorBoardLogger):
        logger.experiment.flush()  # its `save` writes hyperparameters, which are not known yet
    else:
        logger.save()


def rewind(loggers: Iterable[Logger], step: int) -> None:
    """Takes back what TensorBoard's and CSV files say of later steps, of the run and its result."""
    for logger in loggers:
        if isinstance(logger, TensorBoardLogger):
            rewind_events(Path(logger.log_dir), step)
        elif isinstance(logger, CSVLogger):
            rewind_rows(logger, step)


def rewind_events(folder: Path, step: int) -> None:
    """Leaves event files that sort before any new one, even if the clock has gone back since."""
    paths = sorted(folder.glob("events.out.tfevents.*"))
    for number, path in enumerate(paths):  # those of an earlier rewind come first
        atomic.replace(path, events_until(path, step))
        path.rename(path.with_name(f"events.out.tfevents.{number:010d}.earlier"))


def events_until(path: Path, step: int) -> bytes:
    kept = io.BytesIO()
    writer = RecordWriter(kept)
    for serialized in RawEventFileLoader(str(path)).Load():
        event = Event.FromString(serialized)
        is_again = any(value.tag.startswith(LOGGED_AGAIN) for value in event.summary.value)
        if event.step <= step and not is_again:
            writer.write(serialized)
    return kept.getvalue()


def rewind_rows(logger: CSVLogger, step: int) -> None:
    path = Path(logger.log_dir) / "metrics.csv"
    if not path.exists():
        return
    whole_lines, _, _ = path.read_text(encoding="utf-8").rpartition("\n")
    for row in csv.DictReader(whole_lines.splitlines()):  # the logger, once used, deletes the file
        values = {name: float(value) for name, value in row.items() if value and name != "step"}
        if int(row["step"]) <= step and not any(name.startswith(LOGGED_AGAIN) for name in values):
            logger.experiment.log_metrics(values, int(row["step"]))
    logger.save()
