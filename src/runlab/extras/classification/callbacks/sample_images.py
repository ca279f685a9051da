"""Some images beside the class probabilities that the network gives them, as pictures."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import lightning as L
import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor
from torch.nn import functional

from runlab.callbacks.canvas import Canvas, colour_ramp, text_width
from runlab.callbacks.pictures import log_picture, should_draw
from runlab.extras.classification.callbacks.predictions import class_names, labels_and_probabilities

GREYS = 16
BLACK = GREYS - 1
TRUE_CLASS, WRONG_CLASS, OTHER_CLASS, AXIS = range(GREYS, GREYS + 4)
COLOURS = np.concatenate(
    [
        colour_ramp((255, 255, 255), (0, 0, 0), GREYS),
        np.array([(0, 114, 178), (196, 78, 0), (176, 184, 190), (214, 214, 214)], np.uint8),
    ]
)
MAX_BARS = 10
COLUMNS = 3
IMAGE_SIDE, TITLE_HEIGHT, GAP = 56, 14, 10
BAR_LENGTH, BAR_HEIGHT, BAR_FONT = 46, 9, 9


class ImageBatch(NamedTuple):
    """Images, their true classes, and the probabilities that the network gives the classes."""

    images: Float[Tensor, "batch channels height width"]
    labels: Int[Tensor, " batch"]
    probabilities: Float[Tensor, "batch classes"]

    def select(self, indices: Int[Tensor, " selected"]) -> "ImageBatch":
        return ImageBatch(*(each.index_select(0, indices) for each in self))

    def cpu(self) -> "ImageBatch":
        return ImageBatch(*(each.cpu() for each in self))


class SampleImages(L.Callback):
    """Images beside the class probabilities that the network gives them, mistakes first.

    `samples/fixed` shows the same images in every run: the hardest of the first validation batch,
    which are those furthest from the mean image of their own class compared with another's.
    `samples/worst` shows the validation's worst mistakes, at first the one with the lowest
    probability of the true class. Both are drawn after at most ten validations, among them the
    last one of a run that ends as planned, for TensorBoard and loggers with Lightning's
    `log_image`; of several processes' images those of the first. Colour images are shown in grey.
    Of a table's rows, or series, and where steps return no `probabilities`, there are none.

    Args:
        count: images in each of the two pictures, at most.
    """

    def __init__(self, count: int = 12) -> None:
        if count < 1:
            raise ValueError(f"expected a count of at least 1 image, got {count}")
        self.count = count
        self.fixed_indices: Tensor | None = None
        self.fixed: ImageBatch
        self.worst: ImageBatch

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.drawing = trainer.is_global_zero and should_draw(trainer)

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
        self.drawing = self.drawing and classified is not None and batch[0].ndim == 4
        if self.drawing and classified is not None:
            self.collect(ImageBatch(batch[0], *classified), is_first=batch_idx == 0)

    def collect(self, batch: ImageBatch, is_first: bool) -> None:
        """Takes the fixed images from a validation's first batch, and updates the worst ones."""
        if is_first:
            if self.fixed_indices is None:
                num_classes = batch.probabilities.shape[1]
                self.fixed_indices = hard_examples(
                    batch.images, batch.labels, num_classes, self.count
                )
            self.fixed = batch.select(self.fixed_indices)
        worst = batch.select(order_by_error(batch)[: self.count])
        if not is_first:
            worst = ImageBatch(*map(torch.cat, zip(self.worst, worst, strict=True)))
        self.worst = worst.select(order_by_error(worst)[: self.count])

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if not self.drawing:
            return
        classes = class_names(trainer, self.worst.probabilities.shape[1])
        fixed, worst = self.fixed.cpu(), self.worst.cpu()
        fixed = fixed.select(order_by_error(fixed))
        log_picture(trainer, "samples/fixed", draw_images(fixed, classes))
        mistakes = is_misclassified(worst).nonzero().squeeze(1)
        if len(mistakes) > 0:
            worst = worst.select(mistakes)
            log_picture(trainer, "samples/worst", draw_images(worst, classes))


def is_misclassified(batch: ImageBatch) -> Bool[Tensor, " batch"]:
    """NaN is misclassified too."""
    truth = batch.probabilities.gather(1, batch.labels.unsqueeze(1)).squeeze(1)
    return (batch.probabilities.argmax(dim=1) != batch.labels) | truth.isnan()


def order_by_error(batch: ImageBatch) -> Int[Tensor, " batch"]:
    """Indices of the mistakes, then of the rest, in both the least likely true class first."""
    truth = batch.probabilities.gather(1, batch.labels.unsqueeze(1)).squeeze(1).nan_to_num(0)
    return (truth + (~is_misclassified(batch)).to(truth.dtype)).argsort(stable=True)


def hard_examples(
    images: Float[Tensor, "batch ..."],
    labels: Int[Tensor, " batch"],
    num_classes: int,
    count: int,
) -> Int[Tensor, " count"]:
    """Indices of the images that a classifier by the nearest class mean gets most wrong."""
    flat = images.flatten(1).float()
    one_hot = torch.eye(num_classes, device=labels.device)[labels]  # [batch, classes]
    sizes = one_hot.sum(dim=0)  # [classes]
    means = one_hot.T @ flat / sizes.clamp(min=1).unsqueeze(1)
    distances = torch.cdist(flat, means).where(sizes > 0, torch.inf)  # [batch, classes]
    own = distances.gather(1, labels.unsqueeze(1)).squeeze(1)
    other = distances.where(one_hot == 0, torch.inf).amin(dim=1)
    return (own - other).topk(min(count, len(labels))).indices


def draw_images(batch: ImageBatch, classes: Sequence[str]) -> Canvas:
    """A panel an image: the true class above it, and a bar for each class beside it."""
    greys = to_greys(batch.images)  # [images, rows, columns]
    labels: list[int] = batch.labels.tolist()
    probabilities = batch.probabilities.float().cpu().numpy()
    names = max(text_width(name, BAR_FONT) for name in classes)
    width = greys.shape[2] + 4 + names + 3 + BAR_LENGTH + GAP
    bars = BAR_HEIGHT * min(len(classes), MAX_BARS)
    height = TITLE_HEIGHT + max(bars, greys.shape[1] + 4) + GAP
    columns = min(COLUMNS, len(labels))
    rows = -(-len(labels) // columns)
    canvas = Canvas(rows * height + 20, max(columns * width, 300) + 6, COLOURS)
    for index, (grey, label, values) in enumerate(zip(greys, labels, probabilities, strict=True)):
        top, left = index // columns * height + 4, index % columns * width + 8
        predicted = None if np.isnan(values).any() else int(values.argmax())
        draw_image(canvas, top, left, width - GAP, grey, label, predicted, classes)
        bars_left = left + greys.shape[2] + 6
        draw_bars(canvas, top + TITLE_HEIGHT, bars_left, names, values, label, predicted, classes)
    draw_legend(canvas, rows * height + 11)
    return canvas


def to_greys(
    images: Float[Tensor, "images channels height width"],
) -> UInt8[np.ndarray, "images rows columns"]:
    """Colours of the images' pixels, each image from its own darkest to its brightest.

    Images are enlarged by a whole number, or reduced, to fill the room that they have.
    """
    grey = images.float().mean(dim=1, keepdim=True)
    longer = max(grey.shape[2:])
    if longer > IMAGE_SIDE:
        size = [max(1, round(side * IMAGE_SIDE / longer)) for side in grey.shape[2:]]
        grey = functional.interpolate(grey, size, mode="area")
    low, high = grey.amin(dim=(1, 2, 3), keepdim=True), grey.amax(dim=(1, 2, 3), keepdim=True)
    scaled = (grey - low) / (high - low).clamp(min=1e-30) * BLACK
    colours = (BLACK - scaled).squeeze(1).round().cpu().numpy().astype(np.uint8)
    scale = max(1, IMAGE_SIDE // longer)
    return colours.repeat(scale, axis=1).repeat(scale, axis=2)


def draw_image(
    canvas: Canvas,
    top: int,
    left: int,
    width: int,
    grey: UInt8[np.ndarray, "rows columns"],
    label: int,
    predicted: int | None,
    classes: Sequence[str],
) -> None:
    """The image below its true class; a mistake has a frame, and says what it was taken for."""
    title = classes[label]
    if predicted != label:
        wrong = "NaN" if predicted is None else classes[predicted]
        title = f"{title} taken for {wrong}"
        height, side = grey.shape
        canvas.fill_rectangle(top + TITLE_HEIGHT - 2, left - 2, height + 4, side + 4, WRONG_CLASS)
    canvas.draw_text(title, top + TITLE_HEIGHT // 2 - 1, left, width=width)
    canvas.draw_pixels(top + TITLE_HEIGHT, left, grey)


def draw_bars(
    canvas: Canvas,
    top: int,
    left: int,
    name_width: int,
    probabilities: Float[np.ndarray, " classes"],
    label: int,
    predicted: int | None,
    classes: Sequence[str],
) -> None:
    """Bars from 0 to 1, of the likeliest classes and the true one where there are many."""
    shown = list(range(len(classes)))
    if len(classes) > MAX_BARS:
        shown = np.argsort(-probabilities, kind="stable")[:MAX_BARS].tolist()
        shown = shown if label in shown else [*shown[:-1], label]
    zero = left + name_width + 3
    lengths = np.rint(BAR_LENGTH * np.nan_to_num(probabilities))
    for end in (zero - 1, zero + BAR_LENGTH):
        canvas.fill_rectangle(top, end, BAR_HEIGHT * len(shown), 1, AXIS)
    for row, index in enumerate(shown):
        canvas.draw_text(classes[index], top + BAR_HEIGHT * row + BAR_HEIGHT // 2, left, BAR_FONT)
        colour = colour_of(index, label, predicted)
        row_top, length = top + BAR_HEIGHT * row + 1, int(lengths[index])
        canvas.fill_rectangle(row_top, zero, BAR_HEIGHT - 2, length, colour)


def colour_of(index: int, label: int, predicted: int | None) -> int:
    if index == label:
        return TRUE_CLASS
    return WRONG_CLASS if index == predicted else OTHER_CLASS


def draw_legend(canvas: Canvas, middle: int) -> None:
    left = 8
    meanings = {TRUE_CLASS: "true class", WRONG_CLASS: "taken for", OTHER_CLASS: "other classes"}
    for colour, text in meanings.items():
        canvas.fill_rectangle(middle - 3, left, 7, 14, colour)
        canvas.draw_text(text, middle, left + 18, BAR_FONT)
        left += 18 + text_width(text, BAR_FONT) + 12
