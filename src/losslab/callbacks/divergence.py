import lightning as L
import torch


class Divergence(L.Callback):
    """Stops a run once a metric of training or validation is no longer finite.

    Looked at once an epoch: on a GPU every look waits for the device.
    """

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        values = torch.stack([value.float().cpu() for value in trainer.callback_metrics.values()])
        if not values.isfinite().all():
            trainer.should_stop = True
