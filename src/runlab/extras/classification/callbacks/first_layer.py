"""The first layer's weights, as a picture."""

from collections.abc import Sequence
from math import prod
from typing import Any

import lightning as L
import numpy as np
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from runlab.callbacks.canvas import Canvas, colour_ramp, text_width
from runlab.callbacks.pictures import log_picture, should_draw

LEVELS = 8
"""On either side of zero: a finer scale would double the size of the file, and show noise."""

ZERO, FRAME = 1 + LEVELS, 2 + 2 * LEVELS
NEGATIVE, NEUTRAL, POSITIVE = (33, 102, 172), (250, 250, 250), (178, 24, 43)
COLOURS = np.concatenate(
    [
        np.array([(255, 255, 255)], np.uint8),
        colour_ramp(NEGATIVE, NEUTRAL, LEVELS + 1),
        colour_ramp(NEUTRAL, POSITIVE, LEVELS + 1)[1:],
        np.array([(200, 200, 200)], np.uint8),
    ]
)
GAP, TILE_SIDE = 5, 56
"""Pixels between units, and of a unit's longer side, as far as weights fit into it whole."""


class FirstLayer(L.Callback):
    """The first layer's weights as images, `weights/first_layer`: blue is below zero, red above.

    Of an affine layer on flattened images each unit is an image, of a convolution each kernel,
    their channels side by side. Of another first layer there are none. One scale, symmetric about
    zero, serves all of them. They are drawn after at most ten validations, among them the last one
    of a run that ends as planned, for TensorBoard and loggers with Lightning's `log_image`.

    Args:
        count: units to show, the first ones.
    """

    def __init__(self, count: int = 24) -> None:
        if count < 1:
            raise ValueError(f"expected a count of at least 1 unit, got {count}")
        self.count = count

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        network = getattr(pl_module, "network", None) or pl_module
        self.layer = next(filter(owns_parameters, network.modules()), None)
        self.shape: Sequence[int] = ()

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.drawing = should_draw(trainer) and trainer.is_global_zero and self.layer is not None

    def on_validation_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        if isinstance(batch, Sequence):
            self.shape = batch[0].shape[1:]

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if not self.drawing:
            return
        weights = weights_as_images(self.layer, self.shape)
        if weights is not None:
            canvas = draw_weights(weights[: self.count], len(weights))
            log_picture(trainer, "weights/first_layer", canvas)


def owns_parameters(module: nn.Module) -> bool:
    return next(module.parameters(recurse=False), None) is not None


def weights_as_images(
    layer: nn.Module | None, shape: Sequence[int]
) -> Float[Tensor, "units channels height width"] | None:
    """A layer's weights for inputs of that shape; None if these, or the weights, are no images."""
    if isinstance(layer, nn.Conv2d):
        return layer.weight.detach()
    if isinstance(layer, nn.Linear) and len(shape) == 3 and layer.in_features == prod(shape):
        return layer.weight.detach().unflatten(1, [*shape])
    return None


def draw_weights(weights: Float[Tensor, "units channels height width"], of: int) -> Canvas:
    """The units in rows, and below them the scale, whose ends are the largest weight's magnitude.

    Args:
        of: how many units the layer has.
    """
    values = weights.float().cpu().numpy()
    largest = float(np.abs(values).max())
    tiles = to_tiles(np.nan_to_num(values / (largest or 1.0)))
    rows = max(1, round((len(tiles) / 1.6) ** 0.5))
    columns = -(-len(tiles) // rows)
    height, width = tiles.shape[1] + GAP, tiles.shape[2] + GAP
    canvas = Canvas(height * rows + GAP + 22, max(width * columns, 300) + GAP, COLOURS)
    for index, tile in enumerate(tiles):
        top, left = index // columns * height + GAP, index % columns * width + GAP
        canvas.fill_rectangle(top - 1, left - 1, tile.shape[0] + 2, tile.shape[1] + 2, FRAME)
        canvas.draw_pixels(top, left, tile)
    draw_scale(canvas, height * rows + GAP + 11, f"{largest:.2g}", f"{len(tiles)} of {of} units")
    return canvas


def to_tiles(
    shares: Float[np.ndarray, "units channels height width"],
) -> UInt8[np.ndarray, "units rows columns"]:
    """Colours of values from -1 to 1, a unit's channels side by side, enlarged."""
    colours = (ZERO + np.rint(LEVELS * shares)).astype(np.uint8)
    tiles = np.concatenate(colours.transpose(1, 0, 2, 3), axis=2)  # [units, height, channels·width]
    scale = max(1, TILE_SIDE // max(shares.shape[2:]))
    return tiles.repeat(scale, axis=1).repeat(scale, axis=2)


def draw_scale(canvas: Canvas, middle: int, largest: str, units: str) -> None:
    canvas.draw_text(units, middle, 5)
    left = 5 + text_width(units) + 20
    canvas.draw_text(f"-{largest}", middle, left)
    left += text_width(f"-{largest}") + 4
    swatches = np.arange(1, FRAME, dtype=np.uint8).repeat(6)
    canvas.draw_pixels(middle - 5, left, np.tile(swatches, (10, 1)))
    canvas.draw_text(f"+{largest}", middle, left + len(swatches) + 4)
