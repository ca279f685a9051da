from multiprocessing import current_process
from shutil import get_terminal_size
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import ProgressBar
from tqdm import tqdm

from runlab.text import shortened

BESIDE_THE_NAME = 70  # columns for the epoch, the bar, the time and the accuracy


class Progress(ProgressBar):
    """One bar a run: which run of the sweep, which epoch, and the latest validation accuracy.

    One for all runs that train together is that of the first. Silent where standard error is no
    terminal, and where runs train side by side in several processes.
    """

    def __init__(self, label: str = "") -> None:
        super().__init__()
        self.label = label
        self.enabled = True

    def disable(self) -> None:
        self.enabled = False

    def enable(self) -> None:
        self.enabled = True

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.bar = tqdm(disable=True)
        self.begin(trainer, pl_module)  # one that goes on within an epoch does not start that epoch

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.begin(trainer, pl_module)

    def begin(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        beside = self.beside(pl_module)
        quiet = None if beside is not None and self.enabled and trainer.is_global_zero else True
        blocks, epochs = int(trainer.num_training_batches), trainer.max_epochs
        name = shortened(self.label, max(get_terminal_size().columns - BESIDE_THE_NAME, 20))
        label = f"{name}{beside or ''} epoch {trainer.current_epoch + 1}/{epochs}"
        if self.bar.disable:  # another run's may have been shown until now
            self.bar = tqdm(
                desc=label, total=blocks, leave=False, dynamic_ncols=True, disable=quiet,
                unit="block",
            )  # fmt: skip
        else:
            self.bar.set_description(label, refresh=False)
            self.bar.reset(total=blocks)

    def beside(self, pl_module: L.LightningModule) -> str | None:
        """What else the bar stands for; None where it would be written over another run's."""
        if current_process().name.startswith("Loky"):  # joblib's, one of several
            return None
        stack = getattr(pl_module, "stack", None)
        return "" if stack is None else getattr(stack, "label", None)

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
        if trainer.training:
            accuracy = float(trainer.callback_metrics.get("val/accuracy", float("nan")))
            self.bar.set_postfix_str(f"val {accuracy:.2%}")

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.bar.close()

    def on_exception(
        self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException
    ) -> None:
        if hasattr(self, "bar"):
            self.bar.close()
