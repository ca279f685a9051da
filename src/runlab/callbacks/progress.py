"""How far a run is, on a terminal."""

import os
import sys
from math import isfinite
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import ProgressBar
from tqdm import tqdm

from runlab import console
from runlab.measure import Measure, declared_measures
from runlab.runs.epochs import steps_in
from runlab.text import printable, shortened

RESERVED_COLUMNS = 70  # for the epoch, the bar, the time and the measure


class Progress(ProgressBar):
    """A bar of the run's batches: what the run is, its epoch, and the module's primary measure.

    The measure is of the latest validation. There is no bar where standard error is no terminal,
    nor in a sweep, where one line tells how far all runs are.

    Args:
        description: what the bar begins with.
    """

    blocks_suffice = True

    def __init__(self, description: str = "") -> None:
        super().__init__()
        self.description = description
        self.enabled = True

    def disable(self) -> None:
        self.enabled = False

    def enable(self) -> None:
        self.enabled = True

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.bar = tqdm(disable=True)
        self.start_epoch(trainer, pl_module)  # a run that is resumed within an epoch starts none

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.start_epoch(trainer, pl_module)

    def start_epoch(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        is_shown = self.enabled and trainer.is_global_zero and console.LIVE not in os.environ
        batches, epochs = trainer.num_training_batches, trainer.max_epochs
        total = steps_in(trainer, int(batches)) if isfinite(batches) else None  # of unknown length
        free = max(console.columns(sys.stderr) - RESERVED_COLUMNS, 20)
        name = shortened(printable(self.description), free)
        description = f"{name} epoch {trainer.current_epoch + 1}/{epochs}"
        if self.bar.disable:
            self.bar = tqdm(
                desc=description, total=total, leave=False, dynamic_ncols=True, unit=" batches",
                disable=None if is_shown else True,
            )  # fmt: skip
        else:
            self.bar.set_description(description, refresh=False)
            self.bar.reset(total=total)

    def on_train_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        if not self.bar.disable:  # a block holds several
            self.bar.update(steps_in(trainer, batch_idx + 1) - self.bar.n)

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        measure = primary_measure(pl_module)
        if trainer.state.fn != "fit" or trainer.sanity_checking or measure is None:
            return
        if not self.bar.disable:  # a look at a GPU waits for it
            value = float(trainer.callback_metrics.get(f"val/{measure.name}", float("nan")))
            self.bar.set_postfix_str(f"val {measure.text(value)}")

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.bar.close()

    def on_exception(
        self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException
    ) -> None:
        if hasattr(self, "bar"):
            self.bar.close()


def primary_measure(pl_module: L.LightningModule) -> Measure | None:
    """That of the run's configuration; of a module that was built without one, its first."""
    config = pl_module.hparams.get("config")
    measures: Any = getattr(pl_module, "measures", ())
    return next(iter(declared_measures(config) if config else measures), None)
