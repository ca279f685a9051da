from collections.abc import Sequence
from typing import Any

import lightning as L
import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor

from runlab.callbacks.canvas import Canvas, blend, text_width
from runlab.callbacks.pictures import class_names, show, wanted

LEVELS = 16
RIGHT, LINE = LEVELS, LEVELS + 1
COLOURS = np.concatenate(
    [
        blend((255, 255, 255), (222, 92, 32), LEVELS),
        np.array([(205, 222, 234), (222, 222, 222)], np.uint8),
    ]
)
MOST_NAMED = 25
"""Classes, beyond which cells have neither names nor counts."""


class Confusion(L.Callback):
    """The validation's confusion matrix, `errors/confusion`: rows are true, columns predicted.

    Colour tells errors alone, by the square root of their number: beside those that are right none
    would be seen. It is drawn after at most ten validations, among them the last one of a run that
    ends as planned, for TensorBoard and loggers with Lightning's `log_image`. Steps have to return
    their `probabilities`.
    """

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.drawing = wanted(trainer)
        self.cells: list[Tensor] = []

    def on_validation_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        if self.drawing:
            probabilities = outputs["probabilities"]
            self.classes = probabilities.shape[1]
            self.cells.append(batch[1] * self.classes + probabilities.argmax(dim=1))

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if not self.drawing:
            return
        mine = torch.cat(self.cells).bincount(minlength=self.classes**2)
        counts = trainer.strategy.reduce(mine, reduce_op="sum").view(self.classes, -1)
        if trainer.is_global_zero:
            show(trainer, "errors/confusion", picture(counts.cpu().numpy(), class_names(trainer)))


def picture(counts: Int64[np.ndarray, "classes classes"], classes: Sequence[str]) -> Canvas:
    named = len(classes) <= MOST_NAMED
    names = max(map(text_width, classes)) if named else 0
    height = 20 if named else max(2, 300 // len(classes))
    width = max(26, text_width(str(counts.max())) + 6) if named else height
    upright = names + 4 > width
    top = 24 + (names + 4 if upright else 16 if named else 0)
    left = 30 + names
    errors = counts.copy()
    np.fill_diagonal(errors, 0)
    canvas = Canvas(
        top + height * len(classes) + 26, max(left + width * len(classes) + 10, 240), COLOURS
    )
    levels = np.ceil((LEVELS - 1) * np.sqrt(errors / max(errors.max(), 1))).astype(np.uint8)
    np.fill_diagonal(levels, RIGHT)
    cells = levels.repeat(height, axis=0).repeat(width, axis=1)
    if named:
        cells[::height], cells[:, ::width] = LINE, LINE
    canvas.paint(top, left, cells)
    canvas.write("predicted", 10, left)
    canvas.upright("true", top, 4)
    if named:
        for index, name in enumerate(classes):
            middle = top + height * index + height // 2
            canvas.write(name, middle, left - 4 - text_width(name))
            if upright:
                canvas.upright(name, top - 4 - text_width(name), left + width * index + 2)
            else:
                across = left + width * index + (width - text_width(name)) // 2
                canvas.write(name, top - 8, across)
        for row, column in np.argwhere(counts).tolist():
            text = str(counts[row, column])
            across = left + width * column + (width - text_width(text)) // 2 + 1
            canvas.write(text, top + height * row + height // 2, across)
    wrong, images = int(errors.sum()), int(counts.sum())
    canvas.write(f"{wrong:,} of {images:,} images wrong", canvas.pixels.shape[0] - 12, left)
    return canvas
