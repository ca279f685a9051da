import lightning as L
import torch


class StopOnDivergence(L.Callback):
    """Stops a run once a metric `train/*` or `val/*` is no longer finite.

    Looked at with each validation: on a GPU every look waits for the device. The training loss is
    by then a mean over the blocks since the validation before: one that was not finite suffices.
    """

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        metrics = trainer.callback_metrics.items()
        own = [value.float().cpu() for key, value in metrics if key.startswith(("train/", "val/"))]
        if own and not torch.stack(own).isfinite().all():
            trainer.should_stop = True
