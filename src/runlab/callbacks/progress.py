"""How far a run is, on a terminal."""

from math import isfinite
from multiprocessing import current_process
from shutil import get_terminal_size
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import ProgressBar
from tqdm import tqdm

from runlab.measure import Measure, declared_measures
from runlab.text import printable, shortened

RESERVED_COLUMNS = 70  # for the epoch, the bar, the time and the measure


class Progress(ProgressBar):
    """One bar a run: which run of the sweep, which epoch, and the module's primary measure.

    The measure is of the latest validation. Runs that train together share the bar of the first
    one. There is none where standard error is no terminal, and none where runs train side by side
    in several processes.

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
        others = other_runs(pl_module)
        silent = None if others is not None and self.enabled and trainer.is_global_zero else True
        batches, epochs = trainer.num_training_batches, trainer.max_epochs
        blocks = int(batches) if isfinite(batches) else None  # of data without a length
        name = shortened(
            printable(self.description), max(get_terminal_size().columns - RESERVED_COLUMNS, 20)
        )
        description = f"{name}{others or ''} epoch {trainer.current_epoch + 1}/{epochs}"
        if self.bar.disable:  # until now the bar of another run may have been shown
            self.bar = tqdm(
                desc=description, total=blocks, leave=False, dynamic_ncols=True, disable=silent,
                unit="block",
            )  # fmt: skip
        else:
            self.bar.set_description(description, refresh=False)
            self.bar.reset(total=blocks)

    def on_train_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        self.bar.update()

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        measure = primary_measure(pl_module)
        if trainer.state.fn != "fit" or trainer.sanity_checking or measure is None:
            return
        if not self.bar.disable:  # a look at a GPU waits for it
            value = float(trainer.callback_metrics.get(f"val/{measure.name}", float("nan")))
            self.bar.set_postfix_str(f"val {format_value(value, measure)}")

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.bar.close()

    def on_exception(
        self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException
    ) -> None:
        if hasattr(self, "bar"):
            self.bar.close()


def other_runs(pl_module: L.LightningModule) -> str | None:
    """Which other runs the bar stands for; None where it would be drawn over another run's."""
    if current_process().name.startswith("Loky"):  # joblib's, one of several
        return None
    stack = getattr(pl_module, "stack", None)
    return "" if stack is None else getattr(stack, "label", None)


def primary_measure(pl_module: L.LightningModule) -> Measure | None:
    """That of the run's configuration; of a module that was built without one, its first."""
    config = pl_module.hparams.get("config")
    measures: Any = getattr(pl_module, "measures", ())
    return next(iter(declared_measures(config) if config else measures), None)


def format_value(value: float, measure: Measure) -> str:
    """As in `97.93%` or `0.0712 s`."""
    unit = measure.unit if measure.unit in ("", "%") else f" {measure.unit}"
    return f"{measure.scale * value:.{measure.digits}f}{unit}"
