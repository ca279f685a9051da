from typing import Any

import lightning as L
from torch.nn.utils import get_total_norm


class GradientNorm(L.Callback):
    """Logs `train/gradient_norm`: the 2-norm of all gradients, at the last step of a block.

    Where gradients are clipped it is that of the clipped ones.
    """

    def on_train_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        gradients = [p.grad for p in pl_module.parameters() if p.grad is not None]
        pl_module.log("train/gradient_norm", get_total_norm(gradients), sync_dist=True)
