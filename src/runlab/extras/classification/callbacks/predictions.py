import io
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import torch

from runlab import atomic


class Predictions(L.Callback):
    """Keeps what a run said of each test image beside its record: `predictions.npz`.

    Arrays [images], in the data's order: `label` and `predicted` (the likeliest class), unsigned
    integers, and `confidence`, its probability as float32. They are of the weights that are tested.
    """

    def __init__(self, folder: str | Path) -> None:
        self.path = Path(folder) / "predictions.npz"

    def on_test_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.batches: list[tuple[torch.Tensor, ...]] = []

    def on_test_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        probabilities = outputs["probabilities"]
        confidence, predicted = probabilities.max(dim=1)
        self.batches.append((batch[1], predicted, confidence))

    def on_test_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        mine = [torch.cat(parts).cpu().numpy() for parts in zip(*self.batches, strict=True)]
        label, predicted, confidence = interleaved(mine, trainer.world_size)
        if trainer.is_global_zero:
            kind = np.min_scalar_type(max(label.max(), predicted.max()))
            content = io.BytesIO()
            np.savez_compressed(
                content,
                label=label.astype(kind),
                predicted=predicted.astype(kind),
                confidence=confidence.astype(np.float32),
            )
            atomic.replace(self.path, content.getvalue())


def interleaved(mine: list[np.ndarray], world_size: int) -> list[np.ndarray]:
    """All ranks' images in the data's order, of which rank r of W has each W-th from r on."""
    if world_size == 1:
        return mine
    shares: list[Any] = [None] * world_size
    torch.distributed.all_gather_object(shares, mine)
    images = sum(len(share[0]) for share in shares)
    whole = [np.empty((images, *part.shape[1:]), part.dtype) for part in mine]
    for rank, share in enumerate(shares):
        for array, part in zip(whole, share, strict=True):
            array[rank::world_size] = part
    return whole
