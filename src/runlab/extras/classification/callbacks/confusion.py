"""The confusion matrix of a validation, as a picture."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import lightning as L
import numpy as np
from jaxtyping import Int64, UInt8
from torch import Tensor

from runlab.callbacks.canvas import Canvas, colour_ramp, text_width
from runlab.callbacks.pictures import log_picture, should_draw
from runlab.extras.classification.callbacks.predictions import (
    class_names,
    gather_images,
    labels_and_probabilities,
)

LEVELS = 16
CORRECT, GRID = LEVELS, LEVELS + 1
COLOURS = np.concatenate(
    [
        colour_ramp((255, 255, 255), (222, 92, 32), LEVELS),
        np.array([(205, 222, 234), (222, 222, 222)], np.uint8),
    ]
)
MAX_NAMED_CLASSES = 25
"""Of more than these, cells have neither names nor counts."""


class Confusion(L.Callback):
    """The validation's confusion matrix, `errors/confusion`: rows are true, columns predicted.

    Colour shows errors alone, by the square root of their number: beside the correct ones no error
    would be seen. It is drawn after at most ten validations, among them the last one of a run that
    ends as planned, for TensorBoard and loggers with Lightning's `log_image`, where steps return
    `probabilities`.
    """

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.drawing = should_draw(trainer)
        self.cells: list[tuple[Tensor, ...]] = []

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
            labels, probabilities = classified
            self.num_classes = probabilities.shape[1]
            self.cells.append((labels * self.num_classes + probabilities.argmax(dim=1),))

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if not self.cells:
            return
        [cells] = gather_images(self.cells, trainer.world_size)
        counts = np.bincount(cells, minlength=self.num_classes**2).reshape(self.num_classes, -1)
        if trainer.is_global_zero:
            canvas = draw_confusion_matrix(counts, class_names(trainer, self.num_classes))
            log_picture(trainer, "errors/confusion", canvas)


class Layout(NamedTuple):
    """Where the cells lie on the canvas and how large each is, in pixels."""

    top: int
    left: int
    height: int
    width: int
    names: bool
    vertical_names: bool


def draw_confusion_matrix(
    counts: Int64[np.ndarray, "classes classes"], classes: Sequence[str]
) -> Canvas:
    layout = layout_of(counts, classes)
    errors = counts.copy()
    np.fill_diagonal(errors, 0)
    bottom = layout.top + layout.height * len(classes)
    right = layout.left + layout.width * len(classes)
    canvas = Canvas(bottom + 26, max(right + 10, 240), COLOURS)
    canvas.draw_pixels(layout.top, layout.left, cell_colours(errors, layout))
    canvas.draw_text("predicted", 10, layout.left)
    canvas.draw_vertical_text("true", layout.top, 4)
    if layout.names:
        draw_names(canvas, layout, classes)
        draw_counts(canvas, layout, counts)
    summary = f"{int(errors.sum()):,} of {int(counts.sum()):,} images wrong"
    canvas.draw_text(summary, bottom + 14, layout.left)
    return canvas


def layout_of(counts: Int64[np.ndarray, "classes classes"], classes: Sequence[str]) -> Layout:
    if len(classes) > MAX_NAMED_CLASSES:
        side = max(2, 300 // len(classes))
        return Layout(24, 30, side, side, names=False, vertical_names=False)
    names = max(map(text_width, classes))
    width = max(26, text_width(str(counts.max())) + 6)
    vertical = names + 4 > width
    top = 24 + (names + 4 if vertical else 16)
    return Layout(top, 30 + names, 20, width, names=True, vertical_names=vertical)


def cell_colours(
    errors: Int64[np.ndarray, "classes classes"], layout: Layout
) -> UInt8[np.ndarray, "height width"]:
    """A colour for each pixel of all cells."""
    levels = np.ceil((LEVELS - 1) * np.sqrt(errors / max(errors.max(), 1))).astype(np.uint8)
    np.fill_diagonal(levels, CORRECT)
    pixels = levels.repeat(layout.height, axis=0).repeat(layout.width, axis=1)
    if layout.names:
        pixels[:: layout.height], pixels[:, :: layout.width] = GRID, GRID
    return pixels


def draw_names(canvas: Canvas, layout: Layout, classes: Sequence[str]) -> None:
    """Beside the rows, and above the columns."""
    for index, name in enumerate(classes):
        width = text_width(name)
        middle = layout.top + layout.height * index + layout.height // 2
        left = layout.left + layout.width * index
        canvas.draw_text(name, middle, layout.left - 4 - width)
        if layout.vertical_names:
            canvas.draw_vertical_text(name, layout.top - 4 - width, left + 2)
        else:
            canvas.draw_text(name, layout.top - 8, left + (layout.width - width) // 2)


def draw_counts(
    canvas: Canvas, layout: Layout, counts: Int64[np.ndarray, "classes classes"]
) -> None:
    for row, column in np.argwhere(counts).tolist():
        text = str(counts[row, column])
        middle = layout.top + layout.height * row + layout.height // 2
        left = layout.left + layout.width * column + (layout.width - text_width(text)) // 2 + 1
        canvas.draw_text(text, middle, left)
