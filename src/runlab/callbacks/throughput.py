import time
from typing import Any

import lightning as L
import torch


class Throughput(L.Callback):
    """Logs `timing/images_per_second`: an epoch's training images, validation not counted."""

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.reset()  # a run that goes on within an epoch does not start that epoch

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.reset()

    def reset(self) -> None:
        self.images, self.seconds = 0, 0.0
        self.started = time.perf_counter()

    def on_train_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        self.images += batch[1].numel() * trainer.world_size

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if trainer.state.fn == "fit" and not trainer.sanity_checking:
            self.stop(pl_module.device)

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.started = time.perf_counter()

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.stop(pl_module.device)
        pl_module.log("timing/images_per_second", self.images / self.seconds, sync_dist=True)

    def stop(self, device: torch.device) -> None:
        """Adds the seconds since the start, once the device has done what it was given."""
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        self.seconds += time.perf_counter() - self.started
