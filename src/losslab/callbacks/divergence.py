import lightning as L
import torch


class Divergence(L.Callback):
    """Stops a run once a metric `train/*` or `val/*` is no longer finite.

    Looked at once an epoch: on a GPU every look waits for the device.
    """

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        metrics = trainer.callback_metrics.items()
        own = [value.float().cpu() for key, value in metrics if key.startswith(("train/", "val/"))]
        if own and not torch.stack(own).isfinite().all():
            trainer.should_stop = True
