"""Going on from a run's last checkpoint, so that it ends as if it had never stopped."""

import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import ModelCheckpoint

from runlab.loggers.rewind import flush, rewind
from runlab.loggers.services import continue_service_runs, service_run_ids
from runlab.module import Module
from runlab.runs import record
from runlab.runs.checkpoint import STATE_KEY
from runlab.runs.epochs import has_taken_last_step, may_end, trained_epochs
from runlab.runs.loaders import LoaderOrder, warn_of_order
from runlab.runs.restart import ASIDE, Restart
from runlab.runs.rng import rng_states

EXPECTED = (
    "(Checkpoint|Experiment logs) directory .* exists and is not empty",
    "You're resuming from a checkpoint that ended before the epoch",  # `LoaderOrder` sees to it
)


@contextmanager
def ignore_restart_warnings() -> Iterator[None]:
    """Without Lightning's warnings of what is there already, and of loaders."""
    with warnings.catch_warnings():
        for message in EXPECTED:
            warnings.filterwarnings("ignore", message=message)
        yield


class ResumeCallback(L.Callback):
    """Puts into every checkpoint what Lightning leaves out of it, and takes it from there.

    That is the state of the random number generators and the order of samples, the latest metrics,
    what training measured since the last validation, whether the run was about to stop, and the
    time spent. The run's record follows its epochs. A run whose last weights Lightning would leave
    out validates them.

    Attributes:
        has_begun: whether a step may have been taken.
        epochs: trained so far, as of the last whole one, or of the end within one.
        measured_step: the optimizer step of the last validation.
    """

    def __init__(self, folder: Path, entry: dict[str, Any], restart: Restart | None) -> None:
        self.folder = folder
        self.entry = entry
        self.restart = restart
        self.seconds_before = restart.seconds if restart else 0.0
        self.started = time.perf_counter()
        self.seconds_of_others = 0.0
        self.rng_states: dict[str, Any] | None = None
        self.order = LoaderOrder()
        self.order_state: dict[str, Any] = {}
        self.has_begun = False
        self.epochs = restart.metrics["epochs"] if restart else 0
        self.measured_step = 0

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
        is_known = self.restart or any(self.folder.rglob(f"*{ASIDE}"))
        with ignore_restart_warnings() if is_known else nullcontext():
            if trainer.is_global_zero and self.restart:
                rewind(trainer.loggers, self.restart.step)
            yield self.restart.path if self.restart else None

    def last_metrics(self, trainer: L.Trainer) -> dict[str, float]:
        """The latest of a fit, `train/*` and `val/*`, though nothing was left to train."""
        metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
        return (self.restart.metrics if self.restart else {}) | metrics | {"epochs": self.epochs}

    def on_save_checkpoint(
        self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        # curves up to the checkpoint have to outlive the process as the checkpoint does
        buffer = pl_module.metric_buffer if isinstance(pl_module, Module) else None
        if buffer is not None:
            buffer.flush(trainer)
        for logger in trainer.loggers:
            flush(logger)
        self.leave_out_others(pl_module)
        hparams = checkpoint["hyper_parameters"]  # a module may have saved whatever it was given
        checkpoint["hyper_parameters"] = {k: v for k, v in hparams.items() if is_plain(v)}
        metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
        checkpoint[STATE_KEY] = {
            "rng_states": rng_states(pl_module.device),
            "loader_order": self.order.state_dict(trainer),
            "metrics": metrics | {"epochs": trained_epochs(trainer)},
            "measured_step": self.measured_step,
            "is_inexact": self.is_inexact(trainer),
            "should_stop": trainer.should_stop,
            "seconds": self.seconds,
            "metric_buffer": None if buffer is None else buffer.state_dict(),
            "service_run_ids": service_run_ids(trainer.loggers),
        }

    def on_load_checkpoint(
        self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        state = checkpoint[STATE_KEY]
        self.rng_states, self.order_state = state["rng_states"], state["loader_order"]
        self.measured_step = state["measured_step"]
        trainer.should_stop = state["should_stop"]
        if isinstance(pl_module, Module):
            pl_module.metric_buffer.load_state_dict(state["metric_buffer"])
        for callback in trainer.checkpoint_callbacks:  # whose folder may have been moved
            own = checkpoint["callbacks"].get(callback.state_key)
            if own and isinstance(callback, ModelCheckpoint):
                own.update(with_folder(own, str(own["dirpath"]), str(callback.dirpath)))

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.has_begun = True
        warn_of_order(trainer)
        if self.rng_states is not None:
            self.order.restore(trainer, self.order_state, self.rng_states)

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.order.begin_epoch(trainer)

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if trainer.state.fn == "fit" and not trainer.sanity_checking:
            self.measured_step = trainer.global_step

    def is_measured(self, trainer: L.Trainer) -> bool:
        return self.measured_step == trainer.global_step or not trainer.enable_validation

    def is_inexact(self, trainer: L.Trainer) -> bool:
        """Whether Lightning would not go on as if nothing had been.

        It forgets gradients that wait for those of other batches, a validation that was due when
        a checkpoint came before it, and what a schedule by a metric does after that. With
        `max_steps` it repeats the end of an epoch that it has ended, and leaves out the validation
        of the last step.
        """
        if is_validation_due(trainer) and not self.is_measured(trainer):
            return True
        if is_plateau_due(trainer):
            return True
        if getattr(trainer.lightning_module, "pending_batches", 0) > 0:
            return True  # no checkpoint holds gradients that wait for others
        if has_taken_last_step(trainer):
            return not self.is_measured(trainer)
        is_whole = trainer.fit_loop.epoch_loop.batch_progress.is_last_batch
        return trainer.max_steps != -1 and is_whole

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.order.end_epoch()
        self.leave_out_others(pl_module)
        self.epochs = trained_epochs(trainer)
        if may_end(trainer) and not self.is_measured(trainer):
            validate(trainer)
        if trainer.is_global_zero:
            self.entry["metrics"]["epochs"] = self.epochs
            self.entry["timing"]["seconds"] = self.seconds
            record.write(self.folder, self.entry)

    def leave_out_others(self, pl_module: L.LightningModule) -> None:
        stack = pl_module.stack if isinstance(pl_module, Module) else None
        self.seconds_of_others = getattr(stack, "seconds_of_others", 0.0)


def is_validation_due(trainer: L.Trainer) -> bool:
    """Whether Lightning validates after the batch that was trained last, and has not begun to."""
    loop = trainer.fit_loop
    if not trainer.training or not trainer.enable_validation or loop._data_fetcher is None:
        return False
    return loop.epoch_loop._should_check_val_fx(loop._data_fetcher)


def is_plateau_due(trainer: L.Trainer) -> bool:
    """Whether Lightning steps a schedule by a metric after what it does now: it steps late."""
    if not trainer.lightning_module.automatic_optimization:
        return False  # a module of ours steps it with the validation
    is_whole = trainer.fit_loop.epoch_loop.batch_progress.is_last_batch
    by_metric = any(each.reduce_on_plateau for each in trainer.lr_scheduler_configs)
    return by_metric and (is_whole or trainer.validating)


def is_plain(value: Any) -> bool:
    """Whether a checkpoint can hold it, and give it back without running any code."""
    if isinstance(value, dict):
        return all(isinstance(key, str) and is_plain(each) for key, each in value.items())
    if isinstance(value, list | tuple):
        return all(map(is_plain, value))
    return value is None or type(value) in (bool, int, float, str)


def validate(trainer: L.Trainer) -> None:
    """As Lightning does within an epoch, whatever it has planned."""
    trainer.validating = True
    trainer.fit_loop.epoch_loop.val_loop.run()
    trainer.training = True


def with_folder(value: Any, old: str, new: str) -> Any:
    """The same nested value with the paths under one folder under another."""
    if isinstance(value, str) and (value == old or value.startswith(f"{old}/")):
        return new + value[len(old) :]
    if isinstance(value, dict):
        return {
            with_folder(key, old, new): with_folder(child, old, new) for key, child in value.items()
        }
    return value
