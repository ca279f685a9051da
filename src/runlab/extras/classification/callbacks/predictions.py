"""What a run predicts of each image: kept in a file, and as precision against recall."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import torch
from torch import Tensor

from runlab import atomic
from runlab.callbacks.pictures import should_draw, summary_writers


class Predictions(L.Callback):
    """Writes what a run predicts of each test image beside its record: `predictions.npz`.

    Arrays [images], in the data's order: `label` and `predicted` (the likeliest class), unsigned
    integers, and `confidence`, its probability as float32. They are of the weights that are tested.
    There is none where test steps return no `probabilities`.
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
        if (classified := labels_and_probabilities(batch, outputs)) is not None:
            labels, probabilities = classified
            confidence, predicted = probabilities.max(dim=1)
            self.batches.append((labels, predicted, confidence))

    def on_test_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if not self.batches:
            return
        label, predicted, confidence = gather_images(self.batches, trainer.world_size)
        if trainer.is_global_zero:
            dtype = np.min_scalar_type(max(label.max(), predicted.max()))
            content = io.BytesIO()
            np.savez_compressed(
                content,
                label=label.astype(dtype),
                predicted=predicted.astype(dtype),
                confidence=confidence.astype(np.float32),
            )
            atomic.replace(self.path, content.getvalue())


class PRCurves(L.Callback):
    """Precision against recall of each class among the validation images: `pr/<class>`.

    Images are ranked by the probability of the class, NaN counting as 0. Taken after at most ten
    validations, among them the last one of a run that ends as planned, for TensorBoard alone, where
    steps return `probabilities`.
    """

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.drawing = should_draw(trainer)
        self.batches: list[tuple[torch.Tensor, ...]] = []

    def on_validation_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        classified = labels_and_probabilities(batch, outputs)
        if self.drawing and classified is not None:
            self.batches.append((classified[0], classified[1].nan_to_num(0)))

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if not self.batches:
            return
        labels, probabilities = gather_images(self.batches, trainer.world_size)
        names = class_names(trainer, probabilities.shape[1])
        for writer in summary_writers(trainer):
            for index, name in enumerate(names):
                of_class = labels == index
                writer.add_pr_curve(
                    f"pr/{name}", of_class, probabilities[:, index], trainer.global_step
                )


def labels_and_probabilities(batch: Any, outputs: Any) -> tuple[Tensor, Tensor] | None:
    """Labels [batch], and the `probabilities` of classes [batch, classes] that a step returned.

    None where it returned none, as of a regression: then callbacks have nothing to show.
    """
    probabilities = outputs.get("probabilities") if isinstance(outputs, Mapping) else None
    if probabilities is None or not isinstance(batch, Sequence):
        return None
    return batch[1], probabilities


def class_names(trainer: L.Trainer, count: int) -> list[str]:
    """The data module's `classes` as text, `range(10)` too; numbers where it names none."""
    data: Any = trainer.datamodule  # type: ignore[attr-defined]
    return [str(name) for name in getattr(data, "classes", None) or range(count)]


def gather_images(batches: list[tuple[torch.Tensor, ...]], world_size: int) -> list[np.ndarray]:
    """Arrays [images, ...] of all ranks in the data's order; rank r of W has every W-th from r on.

    Args:
        batches: of this rank, each a tuple of tensors [batch, ...].
    """
    own = [torch.cat(parts).cpu().numpy() for parts in zip(*batches, strict=True)]
    if world_size == 1:
        return own
    shares: list[Any] = [None] * world_size
    torch.distributed.all_gather_object(shares, own)
    images = sum(len(share[0]) for share in shares)
    gathered = [np.empty((images, *array.shape[1:]), array.dtype) for array in own]
    for rank, share in enumerate(shares):
        for array, part in zip(gathered, share, strict=True):
            array[rank::world_size] = part
    return gathered
