from collections.abc import Mapping, Sequence
from typing import Any

import lightning as L
import torch
from jaxtyping import Float, Int
from torch import Tensor


class OutputGradient(L.Callback):
    """Logs how hard images pull at the network's outputs: ‖∂ℓ/∂z‖ of one image's loss and outputs.

    `train/output_gradient_norm` is the mean over the last batch of a block, before its step;
    `val/output_gradient_norm_wrong` the mean over the misclassified validation images, 0 without
    any. The loss has to be a mean over its batch. Where steps return no `outputs` [batch, classes]
    for labels that are integers, as in a regression, nothing is logged.
    """

    blocks_suffice = True

    def on_train_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        if not classifies(outputs, batch):
            return
        labels = batch[1] if batch[1].ndim == 1 else batch[1][-1]
        norms = output_gradient_norms(pl_module.loss, outputs["outputs"], labels)
        mean = norms.mean()
        pl_module.log_deferred("train/output_gradient_norm", mean)  # type: ignore[operator]

    def on_validation_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.total = torch.zeros(2, device=pl_module.device)  # of norms and of images
        self.measured = False

    def on_validation_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        if not classifies(outputs, batch):
            return
        self.measured, labels = True, batch[1]
        wrong = outputs["predictions"].argmax(dim=1) != labels
        norms = output_gradient_norms(pl_module.loss, outputs["outputs"], labels)
        # not `norms[wrong]`, for which a GPU would have to tell how many there are
        self.total += torch.stack([norms.where(wrong, 0).sum(), wrong.sum()])

    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if trainer.state.fn != "fit" or not self.measured:
            return  # what is measured of the best weights is no point of a curve
        total: Tensor = trainer.strategy.reduce(self.total, reduce_op="sum")
        mean = total[0] / total[1].clamp(min=1)  # the same on each rank
        pl_module.log("val/output_gradient_norm_wrong", mean, sync_dist=True)


def classifies(outputs: Any, batch: Any) -> bool:
    """Whether a step returned outputs [batch, classes] for labels that are integers."""
    if not isinstance(outputs, Mapping) or not isinstance(batch, Sequence):
        return False
    made = outputs.get("outputs")
    is_table = isinstance(made, Tensor) and made.ndim == 2
    return is_table and not batch[1].is_floating_point()


def output_gradient_norms(
    loss: Any, outputs: Float[Tensor, "batch classes"], labels: Int[Tensor, " batch"]
) -> Float[Tensor, " batch"]:
    """‖∂ℓ_i/∂z_i‖ of each image, for a loss that is the mean of ℓ_i over the batch."""
    with torch.inference_mode(False), torch.enable_grad():
        upcast_to_float32 = torch.promote_types(outputs.dtype, torch.float32)
        outputs = outputs.detach().to(upcast_to_float32, copy=True).requires_grad_()
        (gradient,) = torch.autograd.grad(loss(outputs, labels.clone()), outputs)
    return gradient.norm(dim=1) * len(labels)
