import logging
from collections.abc import Sequence
from typing import Any, NamedTuple

import lightning as L
import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional

from runlab.callbacks.canvas import Canvas, blend, text_width
from runlab.callbacks.pictures import class_names, show, wanted

log = logging.getLogger(__name__)

GREYS = 16
BLACK = GREYS - 1
TRUE, MISTAKEN, OTHER, LINE = range(GREYS, GREYS + 4)
COLOURS = np.concatenate(
    [
        blend((255, 255, 255), (0, 0, 0), GREYS),
        np.array([(0, 114, 178), (196, 78, 0), (176, 184, 190), (214, 214, 214)], np.uint8),
    ]
)
MOST_CLASSES = 10
COLUMNS = 3
IMAGE, ROW, BAR, TITLE, GAP, SMALL = 56, 9, 46, 14, 10, 9


class Shown(NamedTuple):
    """Images with what the network said of them."""

    images: Float[Tensor, "batch channels height width"]
    labels: Int[Tensor, " batch"]
    probabilities: Float[Tensor, "batch classes"]

    def of(self, indices: Int[Tensor, " chosen"]) -> "Shown":
        return Shown(*(each.index_select(0, indices) for each in self))


class SampleImages(L.Callback):
    """Images beside the class probabilities that the network gives them, mistakes first.

    `digits/fixed` shows the same images in every run: the hardest of the first validation batch,
    which are those furthest from the mean image of their own class compared with another's.
    `digits/worst` shows the validation's worst mistakes, at first the one with the lowest
    probability of the true class. Both are drawn after at most ten validations, among them the
    last one of a run that ends as planned, for TensorBoard and loggers with Lightning's
    `log_image`; of several processes' images those of the first. Colour images are shown in grey; a
    table's rows, or series, are not. Steps have to return their `probabilities`.
    """

    def __init__(self, count: int = 12) -> None:
        if count < 1:
            raise ValueError(f"expected a count of at least 1 image, got {count}")
        self.count = count
        self.are_pictures = True
        self.hardest: Tensor | None = None
        self.fixed: Shown
        self.worst: Shown

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.drawing = self.are_pictures and trainer.is_global_zero and wanted(trainer)

    def on_validation_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        if not self.drawing:
            return
        if batch[0].ndim != 4:
            log.warning(
                "digits/fixed and digits/worst show nothing: expected images of shape [channels, "
                "height, width], got %s; drop them by ~callback.sample_images",
                [*batch[0].shape[1:]],
            )
            self.are_pictures = self.drawing = False
            return
        probabilities = outputs["probabilities"]
        images, labels = batch
        shown = Shown(images, labels, probabilities)
        if batch_idx == 0:
            if self.hardest is None:
                self.hardest = hardest(images, labels, probabilities.shape[1], self.count)
            self.fixed = shown.of(self.hardest)
        worst = shown.of(worst_first(shown)[: self.count])
        if batch_idx > 0:
            worst = Shown(*map(torch.cat, zip(self.worst, worst, strict=True)))
        self.worst = worst.of(worst_first(worst)[: self.count])

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if not self.drawing:
            return
        classes = class_names(trainer)
        show(trainer, "digits/fixed", picture(self.fixed.of(worst_first(self.fixed)), classes))
        mistakes = is_wrong(self.worst).nonzero().squeeze(1)
        if len(mistakes) > 0:
            show(trainer, "digits/worst", picture(self.worst.of(mistakes), classes))


def is_wrong(shown: Shown) -> Bool[Tensor, " batch"]:
    """NaN is wrong too."""
    truth = shown.probabilities.gather(1, shown.labels.unsqueeze(1)).squeeze(1)
    return (shown.probabilities.argmax(dim=1) != shown.labels) | truth.isnan()


def worst_first(shown: Shown) -> Int[Tensor, " batch"]:
    """The order in which mistakes come first, and of those the least likely truth."""
    truth = shown.probabilities.gather(1, shown.labels.unsqueeze(1)).squeeze(1).nan_to_num(0)
    return (truth + (~is_wrong(shown)).to(truth.dtype)).argsort(stable=True)


def hardest(
    images: Float[Tensor, "batch ..."],
    labels: Int[Tensor, " batch"],
    classes: int,
    count: int,
) -> Int[Tensor, " count"]:
    """Which images a classifier by the nearest class mean gets most wrong."""
    flat = images.flatten(1).float()
    one_hot = torch.eye(classes, device=labels.device)[labels]  # [batch, classes]
    sizes = one_hot.sum(dim=0)  # [classes]
    means = one_hot.T @ flat / sizes.clamp(min=1).unsqueeze(1)
    distances = torch.cdist(flat, means).where(sizes > 0, torch.inf)  # [batch, classes]
    own = distances.gather(1, labels.unsqueeze(1)).squeeze(1)
    other = distances.where(one_hot == 0, torch.inf).amin(dim=1)
    return (own - other).topk(min(count, len(labels))).indices


def picture(shown: Shown, classes: Sequence[str]) -> Canvas:
    """A panel an image: the true class above it, and a bar for each class beside it."""
    greys = shades(shown.images)  # [images, rows, columns]
    labels: list[int] = shown.labels.tolist()
    probabilities = shown.probabilities.float().cpu().numpy()
    names = max(text_width(name, SMALL) for name in classes)
    side = greys.shape[2]
    width = side + 4 + names + 3 + BAR + GAP
    height = TITLE + max(ROW * min(len(classes), MOST_CLASSES), greys.shape[1] + 4) + GAP
    columns = min(COLUMNS, len(labels))
    rows = -(-len(labels) // columns)
    canvas = Canvas(rows * height + 20, max(columns * width, 300) + 6, COLOURS)
    for index, (image, label, values) in enumerate(zip(greys, labels, probabilities, strict=True)):
        top, left = index // columns * height + 4, index % columns * width + 8
        predicted = None if np.isnan(values).any() else int(values.argmax())
        wrong = predicted != label
        title = classes[label]
        if wrong:
            taken_for = "NaN" if predicted is None else classes[predicted]
            title = f"{title} taken for {taken_for}"
            canvas.fill(top + TITLE - 2, left - 2, image.shape[0] + 4, side + 4, MISTAKEN)
        canvas.write(title, top + TITLE // 2 - 1, left, width=width - GAP)
        canvas.paint(top + TITLE, left, image)
        draw_bars(canvas, top + TITLE, left + side + 6, names, values, label, predicted, classes)
    draw_key(canvas, rows * height + 11)
    return canvas


def shades(images: Float[Tensor, "images channels height width"]) -> np.ndarray:
    """Numbers of greys [images, rows, columns], each image from its own darkest to its brightest.

    Images are enlarged by a whole number, or reduced, to fill the room that they have.
    """
    grey = images.float().mean(dim=1, keepdim=True)
    longer = max(grey.shape[2:])
    if longer > IMAGE:
        size = [max(1, round(side * IMAGE / longer)) for side in grey.shape[2:]]
        grey = functional.interpolate(grey, size, mode="area")
    low, high = grey.amin(dim=(1, 2, 3), keepdim=True), grey.amax(dim=(1, 2, 3), keepdim=True)
    scaled = (grey - low) / (high - low).clamp(min=1e-30) * BLACK
    numbers = (BLACK - scaled).squeeze(1).round().cpu().numpy().astype(np.uint8)
    scale = max(1, IMAGE // longer)
    return numbers.repeat(scale, axis=1).repeat(scale, axis=2)


def draw_bars(
    canvas: Canvas,
    top: int,
    left: int,
    names: int,
    probabilities: Float[np.ndarray, " classes"],
    label: int,
    predicted: int | None,
    classes: Sequence[str],
) -> None:
    """Bars from 0 to 1, of the likeliest classes and the true one where there are many."""
    shown = list(range(len(classes)))
    if len(classes) > MOST_CLASSES:
        shown = np.argsort(-probabilities, kind="stable")[:MOST_CLASSES].tolist()
        shown = shown if label in shown else [*shown[:-1], label]
    zero = left + names + 3
    lengths = np.rint(BAR * np.nan_to_num(probabilities))
    for end in (zero - 1, zero + BAR):
        canvas.fill(top, end, ROW * len(shown), 1, LINE)
    for row, index in enumerate(shown):
        canvas.write(classes[index], top + ROW * row + ROW // 2, left, SMALL)
        colour = TRUE if index == label else MISTAKEN if index == predicted else OTHER
        canvas.fill(top + ROW * row + 1, zero, ROW - 2, int(lengths[index]), colour)


def draw_key(canvas: Canvas, middle: int) -> None:
    left = 8
    for colour, text in ((TRUE, "true class"), (MISTAKEN, "taken for"), (OTHER, "other classes")):
        canvas.fill(middle - 3, left, 7, 14, colour)
        canvas.write(text, middle, left + 18, SMALL)
        left += 18 + text_width(text, SMALL) + 12
