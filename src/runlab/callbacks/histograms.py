from typing import Any

import lightning as L
from torch import Tensor

from runlab.callbacks.pictures import tensorboards, wanted

LARGEST = 1e19


class Histograms(L.Callback):
    """Each parameter's values and gradients: `weights/<parameter>`, `gradients/<parameter>`.

    Gradients are those of the last step. Values that are not finite, or beyond ±1e19, where
    TensorBoard's scale ends, are left out, and a tensor with no other has no histogram. Taken after
    at most ten validations, among them the last one of a run that ends as planned, for TensorBoard
    alone.
    """

    def on_train_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        # Lightning drops them before a validation
        named = pl_module.named_parameters()
        self.gradients = {name: p.grad for name, p in named if p.grad is not None}

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if wanted(trainer):
            self.show(trainer, "weights", dict(pl_module.named_parameters()))
            self.show(trainer, "gradients", self.gradients)

    def show(self, trainer: L.Trainer, kind: str, tensors: dict[str, Any]) -> None:
        for writer in tensorboards(trainer):
            for name, values in tensors.items():
                shown: Tensor = values.detach()[values.abs() <= LARGEST].cpu().double()
                if len(shown) > 0:
                    tag = f"{kind}/{name.removeprefix('network.')}"
                    writer.add_histogram(tag, shown, trainer.global_step)
