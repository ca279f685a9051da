"""Going on from a run's last checkpoint, so that it ends as if it had never stopped."""

import csv
import io
import logging
import random
import time
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import lightning as L
import numpy as np
import torch
from lightning.pytorch.loggers import (
    CSVLogger,
    Logger,
    MLFlowLogger,
    TensorBoardLogger,
    WandbLogger,
)
from tensorboard.backend.event_processing.event_file_loader import RawEventFileLoader
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.summary.writer.record_writer import RecordWriter

from runlab import atomic
from runlab.config import fingerprint
from runlab.runs import record

log = logging.getLogger(__name__)

STATE = "losslab"  # under which our part of a checkpoint lies
LOGGED_AGAIN = ("best/", "final/", "test/", "run/", "_hparams_/")  # at a run's start or its end
EXPECTED = "(Checkpoint|Experiment logs) directory .* exists and is not empty"

WAYS_ON = "choose another sweep with name=…, or replace the run with overwrite=true"


@dataclass(frozen=True)
class Restart:
    """A checkpoint to go on from.

    Attributes:
        step: optimizer steps taken before it.
        seconds: training time before it.
        metrics: what Lightning's `callback_metrics` held.
        tracked: under which names other services keep the run, by the class of their logger.
    """

    path: Path
    step: int
    seconds: float
    metrics: dict[str, float]
    tracked: dict[str, str]


def last_checkpoint(folder: Path, config: Mapping[str, Any]) -> Restart | None:
    """The newest checkpoint in a run's folder that a run of this configuration can go on from.

    Raises:
        ValueError: if there are checkpoints of another configuration.
    """
    paths = (folder / "checkpoints").glob("*.ckpt")
    for path in sorted(paths, key=lambda path: (path.stem == "last", path.stat().st_mtime))[::-1]:
        try:
            content = torch.load(path, map_location="cpu", weights_only=True)
            state, theirs = content[STATE], content["hyper_parameters"]["config"]
        except (OSError, MemoryError):
            raise  # a disk that cannot be read now says nothing about the checkpoint
        except Exception as error:  # torch raises whatever its unpickler and zip reader raise
            log.warning("%s: cannot go on from it (%s)", path, type(error).__name__)
            continue
        if fingerprint.fingerprint(theirs) != fingerprint.fingerprint(config):
            raise ValueError(another_configuration(folder, theirs, config))
        return Restart(
            path,
            content["global_step"],
            state["seconds"],
            state["metrics"],
            state.get("tracked", {}),  # which older checkpoints do not have
        )
    return None


def another_configuration(folder: Path, old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    changes = "; ".join(fingerprint.difference(old, new))
    return f"{folder} holds a run of another configuration ({changes}): {WAYS_ON}"


@contextmanager
def ignore_existing_dir_warnings() -> Iterator[None]:
    """Without Lightning's warnings of what is there already."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=EXPECTED)
        yield


class ResumeCallback(L.Callback):
    """Puts into every checkpoint what Lightning leaves out of it, and takes it from there.

    That is the state of the random number generators, the latest metrics, what training measured
    since the last validation, whether the run was about to stop, and the time spent. The run's
    record follows its epochs.
    """

    def __init__(self, folder: Path, entry: dict[str, Any], restart: Restart | None) -> None:
        self.folder = folder
        self.entry = entry
        self.restart = restart
        self.before = restart.seconds if restart else 0.0
        self.started = time.perf_counter()
        self.elsewhere = 0.0
        self.generators: dict[str, Any] | None = None

    @property
    def seconds(self) -> float:
        """Since the run's start; neither time between two processes nor other runs' turns count."""
        return self.before + time.perf_counter() - self.started - self.elsewhere

    def on_save_checkpoint(
        self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        # curves up to the checkpoint have to outlive the process as the checkpoint does
        pl_module.points.read(trainer)  # type: ignore[operator, union-attr]
        for logger in trainer.loggers:
            flush(logger)
        self.leave_out_turns(pl_module)
        checkpoint[STATE] = {
            "generators": generators(pl_module.device),
            "metrics": {name: float(value) for name, value in trainer.callback_metrics.items()},
            "should_stop": trainer.should_stop,
            "seconds": self.seconds,
            "points": pl_module.points.state_dict(),  # type: ignore[union-attr]
            "tracked": {
                kind.__name__: str(logger.version)
                for kind in (MLFlowLogger, WandbLogger)
                for logger in trainer.loggers
                if isinstance(logger, kind)
            },
        }

    def on_load_checkpoint(
        self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        state = checkpoint[STATE]
        self.generators = state["generators"]
        trainer.should_stop = state["should_stop"]
        if "points" in state:  # which older checkpoints do not have
            pl_module.points.load_state_dict(state["points"])  # type: ignore[union-attr]
        for own in checkpoint["callbacks"].values():
            if isinstance(own, dict) and own.get("dirpath"):  # of ModelCheckpoint
                own.update(moved(own, own["dirpath"], str((self.folder / "checkpoints").resolve())))

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if self.generators is not None:
            restore(self.generators, pl_module.device)

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.leave_out_turns(pl_module)
        epochs = trainer.current_epoch + 1
        pl_module.log("epochs", float(epochs), logger=False, sync_dist=True)
        if trainer.is_global_zero:
            self.entry["metrics"]["epochs"] = epochs
            self.entry["timing"]["seconds"] = self.seconds
            record.write(self.folder, self.entry)

    def leave_out_turns(self, pl_module: L.LightningModule) -> None:
        self.elsewhere = getattr(pl_module.stack, "elsewhere", 0.0)


def generators(device: torch.device) -> dict[str, Any]:
    """The state of each global random number generator, as tensors and plain values."""
    name, keys, *rest = np.random.get_state(legacy=True)
    states = {
        "python": random.getstate(),
        "numpy": (name, np.asarray(keys).tolist(), *rest),
        "torch": torch.get_rng_state(),
    }
    if device.type in ("cuda", "mps"):
        states["device"] = getattr(torch, device.type).get_rng_state(*numbered(device))
    return states


def restore(states: dict[str, Any], device: torch.device) -> None:
    random.setstate(states["python"])
    np.random.set_state(states["numpy"])
    torch.set_rng_state(states["torch"])
    if "device" in states and device.type in ("cuda", "mps"):
        getattr(torch, device.type).set_rng_state(states["device"], *numbered(device))


def numbered(device: torch.device) -> tuple[torch.device, ...]:
    return () if device.type == "mps" else (device,)  # of which a machine has one


def moved(value: Any, old: str, new: str) -> Any:
    """The same nested value with the paths under one folder under another."""
    if isinstance(value, str) and (value == old or value.startswith(f"{old}/")):
        return new + value[len(old) :]
    if isinstance(value, dict):
        return {moved(key, old, new): moved(child, old, new) for key, child in value.items()}
    return value


def flush(logger: Logger) -> None:
    if isinstance(logger, TensorBoardLogger):
        logger.experiment.flush()  # its `save` writes hyperparameters, which are not known yet
    else:
        logger.save()


def track(loggers: Iterable[Logger], tracked: Mapping[str, str]) -> None:
    """Has services keep all of a run as one, whichever process logs: that of before, if resumed."""
    for logger in loggers:
        if isinstance(logger, WandbLogger):
            logger._wandb_init["id"] = tracked.get("WandbLogger", uuid4().hex[:8])
        elif isinstance(logger, MLFlowLogger):
            logger._run_id = tracked.get("MLFlowLogger") or logger.run_id


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
    whole_lines, _, _ = path.read_text().rpartition("\n")
    for row in csv.DictReader(whole_lines.splitlines()):  # the logger, once used, deletes the file
        values = {name: float(value) for name, value in row.items() if value and name != "step"}
        if int(row["step"]) <= step and not any(name.startswith(LOGGED_AGAIN) for name in values):
            logger.experiment.log_metrics(values, int(row["step"]))
    logger.save()
