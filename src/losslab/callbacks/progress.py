from multiprocessing import current_process
from threading import current_thread, main_thread
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import ProgressBar
from tqdm import tqdm


class Progress(ProgressBar):
    """One bar a run: which run of the sweep, which epoch, and the latest validation accuracy.

    Silent where standard error is no terminal, and where runs train side by side.
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
        # several of joblib's processes, or of a stack's threads, would write over each other's bars
        in_main = current_thread() is main_thread()
        alone = in_main and not current_process().name.startswith("Loky")
        quiet = None if self.enabled and trainer.is_global_zero and alone else True
        self.bar = tqdm(
            desc=self.label, leave=False, dynamic_ncols=True, disable=quiet, unit="block"
        )
        self.begin(trainer)  # a run that goes on within an epoch does not start that epoch

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.begin(trainer)

    def begin(self, trainer: L.Trainer) -> None:
        self.bar.reset(total=int(trainer.num_training_batches))
        self.bar.set_description(
            f"{self.label} epoch {trainer.current_epoch + 1}/{trainer.max_epochs}"
        )

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
