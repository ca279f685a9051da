"""Runs whose pictures and predictions tests look at, and the components that they need."""

from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from lightning.pytorch.loggers import CSVLogger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn

from losslab.data import MNIST
from runlab.blocks.block import Block
from runlab.extras.classification.callbacks import confusion, sample_images
from runlab.extras.classification.callbacks.sample_images import ImageBatch
from runlab.train import train
from tests.compose import compose

TAGS = {"samples/fixed", "samples/worst", "errors/confusion", "weights/first_layer"}
EVERYTHING = "callback=[default,histograms,pr_curves,graph,projector]"
SLOW = "optimizer.lr=0.005"  # so that mistakes are left


class TrainedRun:
    """A run's folder and record, and what its pictures were drawn of, in the order of drawing."""

    def __init__(self, folder: Path, *overrides: str) -> None:
        self.folder = folder
        self.batches: list[ImageBatch] = []
        self.counts: list[Any] = []
        with pytest.MonkeyPatch.context() as patch:
            spy(patch, sample_images, "draw_images", self.batches)
            spy(patch, confusion, "draw_confusion_matrix", self.counts)
            self.record: Any = train(compose(*overrides, folder=folder))


def spy(patch: pytest.MonkeyPatch, module: Any, function: str, drawn: list[Any]) -> None:
    """Keeps the first argument of each call."""
    draw = getattr(module, function)

    def draw_and_keep(values: Any, classes: Any) -> Any:
        drawn.append(values)
        return draw(values, classes)

    patch.setattr(module, function, draw_and_keep)


def events(folder: Path) -> EventAccumulator:
    """What TensorBoard would read in that folder, all of it."""
    everything = {"scalars": 0, "images": 0, "histograms": 0, "tensors": 0}
    return EventAccumulator(str(folder), size_guidance=everything).Reload()


def curves(found: EventAccumulator) -> dict[str, list[tuple[int, float]]]:
    return {
        tag: [(event.step, event.value) for event in found.Scalars(tag)]
        for tag in found.Tags()["scalars"]
        if not tag.startswith("timing/")
    }


def pictures(found: EventAccumulator) -> dict[str, list[tuple[int, bytes]]]:
    return {
        tag: [(image.step, image.encoded_image_string) for image in found.Images(tag)]
        for tag in found.Tags()["images"]
    }


def steps(folder: Path) -> dict[str, list[int]]:
    shown = pictures(events(folder))
    return {tag: [step for step, _ in each] for tag, each in shown.items()}


def weights(folder: Path) -> dict[str, torch.Tensor]:
    checkpoint = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)
    return checkpoint["state_dict"]


class Album(CSVLogger):
    """Has Lightning's `log_image`, as WandbLogger; keeps tag and step of what it is given."""

    pictures: list[tuple[str, int | None]]

    def log_image(self, key: str, images: list[Any], step: int | None = None) -> None:
        Album.pictures.append((key, step))


class Stop(L.Callback):
    """Ends the process, as far as a test can: once, in the third epoch."""

    blocks_suffice = True

    hook = ""

    def reached(self, hook: str, trainer: L.Trainer) -> None:
        if Stop.hook == hook and trainer.current_epoch == 2:
            Stop.hook = ""
            raise SystemExit("stopped by the test")

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        if batch_idx == 1:
            self.reached("second block", trainer)

    def on_validation_end(self, trainer, pl_module):
        self.reached("validation end", trainer)


class Numbered(MNIST):
    """Its classes are numbers."""

    classes = range(10)


class Series(MNIST):
    """Its validation images are series, 28 values at each of 28 times."""

    def on_after_batch_transfer(self, batch, dataloader_idx):
        batch = super().on_after_batch_transfer(batch, dataloader_idx)
        return batch if isinstance(batch, Block) else (batch[0].squeeze(1), batch[1])


class OfSeries(nn.Sequential):
    def __init__(self, shape: Any, num_classes: int) -> None:
        super().__init__(nn.Flatten(), nn.Linear(28 * 28, num_classes))


class Odd(nn.Module):
    """Begins with neither an affine layer on pixels nor a convolution."""

    def __init__(self, shape: Any, num_classes: int) -> None:
        super().__init__()
        self.scale = nn.LayerNorm(shape[-1])
        self.output = nn.Linear(shape[-1], num_classes)

    def forward(self, images):
        return self.output(self.scale(images).mean(dim=(1, 2)))
