from typing import Any

import lightning as L
import torch

from runlab.callbacks.pictures import class_names, tensorboards, wanted
from runlab.extras.classification.callbacks.predictions import interleaved


class PRCurves(L.Callback):
    """Precision against recall of each class among the validation images: `pr/<class>`.

    By the class's probability, NaN counting as 0. Taken after at most ten validations,
    among them the last one of a run that ends as planned, for TensorBoard alone. Steps have to
    return their `probabilities`.
    """

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.wanted = wanted(trainer)
        self.batches: list[tuple[torch.Tensor, torch.Tensor]] = []

    def on_validation_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        if self.wanted:
            probabilities = outputs["probabilities"]
            self.batches.append((batch[1], probabilities.nan_to_num(0)))

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if not self.wanted:
            return
        mine = [torch.cat(parts).cpu().numpy() for parts in zip(*self.batches, strict=True)]
        labels, probabilities = interleaved(mine, trainer.world_size)
        classes = class_names(trainer)
        for writer in tensorboards(trainer):
            for index, name in enumerate(classes):
                of_class = labels == index
                writer.add_pr_curve(
                    f"pr/{name}", of_class, probabilities[:, index], trainer.global_step
                )
