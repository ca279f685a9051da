"""Going on from a run's last checkpoint, so that it ends as if it had never stopped."""

import logging
import random
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import torch

from runlab.config.fingerprint import difference, fingerprint
from runlab.loggers.rewind import flush, rewind
from runlab.loggers.services import continue_service_runs, service_run_ids
from runlab.runs import record

log = logging.getLogger(__name__)

STATE_KEY = "runlab"
"""Under which our part of a checkpoint lies."""

EXISTING_DIR = "(Checkpoint|Experiment logs) directory .* exists and is not empty"

WAYS_ON = "choose another sweep with name=…, or replace the run with overwrite=true"


@dataclass(frozen=True)
class Restart:
    """A checkpoint to go on from.

    Attributes:
        step: optimizer steps taken before it.
        seconds: training time before it.
        metrics: what Lightning's `callback_metrics` held.
        service_run_ids: under which ids other services keep the run, by the class of their logger.
    """

    path: Path
    step: int
    seconds: float
    metrics: dict[str, float]
    service_run_ids: dict[str, str]


def last_checkpoint(folder: Path, config: Mapping[str, Any]) -> Restart | None:
    """The newest checkpoint in a run's folder that a run of this configuration can go on from.

    Raises:
        ValueError: if there are checkpoints of another configuration.
    """
    paths = (folder / "checkpoints").glob("*.ckpt")
    for path in sorted(paths, key=lambda path: (path.stem == "last", path.stat().st_mtime))[::-1]:
        try:
            content = torch.load(path, map_location="cpu", weights_only=True)
            state, theirs = content[STATE_KEY], content["hyper_parameters"]["config"]
        except (OSError, MemoryError):
            raise  # a disk that cannot be read now says nothing about the checkpoint
        except Exception as error:  # torch raises whatever its unpickler and zip reader raise
            log.warning("%s: cannot go on from it (%s)", path, type(error).__name__)
            continue
        if fingerprint(theirs) != fingerprint(config):
            raise ValueError(another_configuration(folder, theirs, config))
        return Restart(
            path,
            content["global_step"],
            state["seconds"],
            state["metrics"],
            state["service_run_ids"],
        )
    return None


def another_configuration(folder: Path, old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    changed = "; ".join(difference(old, new))
    return f"{folder} holds a run of another configuration ({changed}): {WAYS_ON}"


@contextmanager
def ignore_existing_dir_warnings() -> Iterator[None]:
    """Without Lightning's warnings of what is there already."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=EXISTING_DIR)
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
        self.seconds_before = restart.seconds if restart else 0.0
        self.started = time.perf_counter()
        self.seconds_of_others = 0.0
        self.rng_states: dict[str, Any] | None = None

    @property
    def seconds(self) -> float:
        """Of training: neither time between two processes nor that of other runs counts."""
        return self.seconds_before + time.perf_counter() - self.started - self.seconds_of_others

    @contextmanager
    def resumed(self, trainer: L.Trainer) -> Iterator[Path | None]:
        """The checkpoint to fit from, its curves ready to go on; None for a run from its start."""
        if trainer.is_global_zero:
            ids = self.restart.service_run_ids if self.restart else {}
            continue_service_runs(trainer.loggers, ids)
        with ignore_existing_dir_warnings() if self.restart else nullcontext():
            if trainer.is_global_zero and self.restart:
                rewind(trainer.loggers, self.restart.step)
            yield self.restart.path if self.restart else None

    def last_metrics(self, trainer: L.Trainer) -> dict[str, float]:
        """The latest of a fit, `train/*` and `val/*`, though nothing was left to train."""
        metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
        return (self.restart.metrics if self.restart else {}) | metrics

    def on_save_checkpoint(
        self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        # curves up to the checkpoint have to outlive the process as the checkpoint does
        pl_module.metric_buffer.flush(trainer)  # type: ignore[operator, union-attr]
        for logger in trainer.loggers:
            flush(logger)
        self.leave_out_others(pl_module)
        checkpoint[STATE_KEY] = {
            "rng_states": rng_states(pl_module.device),
            "metrics": {name: float(value) for name, value in trainer.callback_metrics.items()},
            "should_stop": trainer.should_stop,
            "seconds": self.seconds,
            "metric_buffer": pl_module.metric_buffer.state_dict(),  # type: ignore[union-attr]
            "service_run_ids": service_run_ids(trainer.loggers),
        }

    def on_load_checkpoint(
        self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        state = checkpoint[STATE_KEY]
        self.rng_states = state["rng_states"]
        trainer.should_stop = state["should_stop"]
        pl_module.metric_buffer.load_state_dict(state["metric_buffer"])  # type: ignore[union-attr]
        for own in checkpoint["callbacks"].values():
            if isinstance(own, dict) and own.get("dirpath"):  # of ModelCheckpoint
                folder = str((self.folder / "checkpoints").resolve())
                own.update(with_folder(own, own["dirpath"], folder))

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if self.rng_states is not None:
            restore_rng(self.rng_states, pl_module.device)

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.leave_out_others(pl_module)
        epochs = trainer.current_epoch + 1
        pl_module.log("epochs", float(epochs), logger=False, sync_dist=True)
        if trainer.is_global_zero:
            self.entry["metrics"]["epochs"] = epochs
            self.entry["timing"]["seconds"] = self.seconds
            record.write(self.folder, self.entry)

    def leave_out_others(self, pl_module: L.LightningModule) -> None:
        self.seconds_of_others = getattr(pl_module.stack, "seconds_of_others", 0.0)


def rng_states(device: torch.device) -> dict[str, Any]:
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


def restore_rng(states: dict[str, Any], device: torch.device) -> None:
    random.setstate(states["python"])
    np.random.set_state(states["numpy"])
    torch.set_rng_state(states["torch"])
    if "device" in states and device.type in ("cuda", "mps"):
        getattr(torch, device.type).set_rng_state(states["device"], *numbered(device))


def numbered(device: torch.device) -> tuple[torch.device, ...]:
    return () if device.type == "mps" else (device,)  # of which a machine has one


def with_folder(value: Any, old: str, new: str) -> Any:
    """The same nested value with the paths under one folder under another."""
    if isinstance(value, str) and (value == old or value.startswith(f"{old}/")):
        return new + value[len(old) :]
    if isinstance(value, dict):
        return {
            with_folder(key, old, new): with_folder(child, old, new) for key, child in value.items()
        }
    return value
