"""A person's drawing in the form of the training data, by the steps of MNIST's makers.

They scaled the ink into a box of 20 x 20 pixels, keeping its aspect ratio, and moved its centre of
mass to the middle of 28 x 28 (LeCun, Bottou, Bengio and Haffner, "Gradient-based learning applied
to document recognition", Proc. IEEE 86, 1998; http://yann.lecun.com/exdb/mnist). In all 60,000
training images that middle is, to the nearest pixel, number 14 of 0 to 27.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float32, UInt8
from PIL import Image, ImageOps
from scipy import ndimage
from torch import Tensor

MAX_SIDE = 1024
"""Pixels of the longer side, beyond which an image is reduced before anything else."""

MIN_CONTRAST = 0.1
"""Of the range from black to white: what differs less from its background is no drawing."""

MIN_PART_AREA = 0.03
"""Of the largest connected part's area: smaller parts are dust, not strokes."""

MIN_STROKE_WIDTH = 2.0
"""Pixels of stroke in the result. One in twenty of MNIST's digits is thinner; a thin pen on a large
canvas would be far thinner, and networks that have never seen such digits misread many."""


MIN_SHAPE_AREA = 0.2
"""Of the largest shape's area: what is smaller belongs to it, as the dot of an i does."""

APART = 0.12
"""Of the drawing's longer side: parts with so much ground between them are shapes of their own."""


@dataclass(frozen=True)
class Drawing:
    """What an image file shows.

    Attributes:
        original: upright, on white where it is transparent, of at most `MAX_SIDE` pixels a side.
        pixels: as the network gets it; 255 is ink and 0 background, whichever was the darker.
        shapes: how many drawings it seems to show, apart from each other.
    """

    original: np.ndarray
    pixels: UInt8[Tensor, "1 height width"]
    shapes: int


def read_drawing(path: Path, shape: Sequence[int], margin: int | None = None) -> Drawing:
    """The drawing in an image file.

    Args:
        shape: channels, height and width for the network, as `require_margin` takes them.
        margin: pixels between the drawing's box and the edge; None: a seventh, as in MNIST.

    Raises:
        ValueError: if the file is missing, no image, or shows nothing.
    """
    _, height, width = shape
    side = require_margin(shape, margin)
    box = height - 2 * side, width - 2 * side
    image = read_upright(path)
    drawing = crop_to_strokes(extract_ink(pixels_of(image)))
    if drawing.size == 0:
        raise ValueError(
            f"expected a drawing in {path}, got nothing that stands out from its background: draw "
            "darker, or take the image away"
        )
    pixels = center(resize(thicken(drawing, box), box), height, width)
    return Drawing(original_of(image), pixels, count_shapes(drawing))


def require_margin(shape: Sequence[int], margin: int | None) -> int:
    """The margin in pixels.

    Raises:
        ValueError: for images of several channels, and a margin that leaves no room in them.
    """
    channels, height, width = shape
    shorter = min(height, width)
    if channels != 1:
        raise ValueError(
            f"expected a network for images of one channel, as drawings are brought to shades of "
            f"grey, got one for {channels}: data.shape is {list(shape)}"
        )
    margin = round(shorter / 7) if margin is None else margin
    if not 0 <= 2 * margin < shorter:
        raise ValueError(
            f"expected a margin of 0 to {(shorter - 1) // 2} for images of {height} x {width} "
            f"pixels, got {margin}"
        )
    return margin


def read_upright(path: Path) -> Image.Image:
    try:
        with Image.open(path) as image:
            return ImageOps.exif_transpose(image)
    except FileNotFoundError:
        raise ValueError(f"expected an image at {path}, got no such file") from None
    except Image.DecompressionBombError:
        most = 2 * (Image.MAX_IMAGE_PIXELS or 0)
        raise ValueError(
            f"expected an image of at most {most:,} pixels in {path}, got more: make it smaller"
        ) from None
    except Exception as error:  # Pillow raises whatever its many readers raise
        raise ValueError(
            f"expected an image in {path}, got a file that Pillow cannot read: damaged, or no image"
        ) from error


def is_deep(image: Image.Image) -> bool:
    """Whether it has more than 8 bits a channel; then it is grey."""
    return image.mode.startswith(("I", "F"))


def original_of(image: Image.Image) -> UInt8[np.ndarray, "height width 3"]:
    """As it is seen on white paper."""
    if is_deep(image):
        image = Image.fromarray((255 * pixels_of(image)[..., 0]).astype(np.uint8))
    seen = image.convert("RGBA")
    seen.thumbnail((MAX_SIDE, MAX_SIDE))
    paper = Image.new("RGBA", seen.size, "white")
    return np.asarray(Image.alpha_composite(paper, seen).convert("RGB"))


def pixels_of(image: Image.Image) -> Float32[np.ndarray, "height width channels"]:
    """From 0 to 1: premultiplied RGBA, or grey alone where the file has more than 8 bits of it."""
    deep = is_deep(image)
    plain = image.convert("F") if deep else image.convert("RGBA").convert("RGBa")
    plain.thumbnail((MAX_SIDE, MAX_SIDE))
    values = np.atleast_3d(np.asarray(plain, np.float32))
    if not deep:
        return values / 255
    low, high = values.min(), values.max()  # 16-bit files often use a part of their range
    if high - low <= MIN_CONTRAST * max(abs(low), abs(high)):  # and noise alone is not stretched
        return np.zeros_like(values)
    return (values - low) / (high - low)


def extract_ink(
    pixels: Float32[np.ndarray, "height width channels"],
) -> Float32[np.ndarray, "height width"]:
    """How much of the strokes' colour each pixel has: 0 as the background, 1 as the strokes.

    Light on dark, dark on light, one colour on another and ink on transparency are all the same:
    the background is what the border shows, the strokes are what differs from it.
    """
    background = np.median(border_pixels(pixels), axis=0)  # [channels]
    difference = pixels - background  # [height, width, channels]
    difference = difference - fit_plane(difference, ~otsu_mask(difference))
    strokes = difference[otsu_mask(difference)]  # [pixels, channels]
    if np.abs(strokes).max(axis=1).mean() < MIN_CONTRAST:
        return np.zeros_like(difference[..., 0])
    colour = strokes.mean(axis=0)  # [channels]
    return (difference @ colour / (colour @ colour)).clip(0, 1)


def border_pixels(pixels: np.ndarray) -> np.ndarray:
    """[border, ...] of [height, width, ...]."""
    return np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])


def otsu_mask(
    difference: Float32[np.ndarray, "height width channels"],
) -> Bool[np.ndarray, "height width"]:
    """Where contrast is above the threshold that best separates two kinds of pixels (Otsu 1979)."""
    contrast = np.abs(difference).max(axis=2)
    counts, levels = np.histogram(contrast, bins=256)
    below = counts.cumsum()[:-1]  # how many lie below each inner level
    above = counts.sum() - below
    sums = (counts * (levels[:-1] + levels[1:]) / 2).cumsum()
    gap = (sums[-1] - sums[:-1]) / above.clip(1) - sums[:-1] / below.clip(1)
    return contrast >= levels[1:-1][np.argmax(above * below * gap**2)]


def fit_plane(
    pixels: Float32[np.ndarray, "height width channels"], mask: Bool[np.ndarray, "height width"]
) -> Float32[np.ndarray, "height width channels"]:
    """Least-squares fit to the border's pixels in `mask`: paper is seldom lit evenly."""
    height, width = mask.shape
    y, x = np.meshgrid(np.linspace(-1, 1, height), np.linspace(-1, 1, width), indexing="ij")
    terms = np.stack([np.ones_like(x), x, y], axis=2)  # [height, width, 3]
    in_mask = border_pixels(mask)
    inputs, values = border_pixels(terms)[in_mask], border_pixels(pixels)[in_mask]
    return (terms @ np.linalg.lstsq(inputs, values)[0]).astype(np.float32)


def crop_to_strokes(
    ink: Float32[np.ndarray, "height width"],
) -> Float32[np.ndarray, "rows columns"]:
    """The box around the strokes, without dust; empty if there are none."""
    parts, count = ndimage.label(ink > 0.5, structure=np.ones((3, 3)))
    areas = np.bincount(parts.ravel(), minlength=count + 1)
    areas[0] = 0  # the background
    is_large = (areas > 0) & (areas >= MIN_PART_AREA * areas.max())
    near = ndimage.binary_dilation(is_large[parts], iterations=2)  # with the strokes' soft edges
    clean = np.where(near, (1.25 * ink - 0.125).clip(0, 1), 0).astype(np.float32)  # without haze
    return clean[ndimage.find_objects((clean > 0).astype(int))[0]] if count else clean[:0, :0]


def count_shapes(drawing: Float32[np.ndarray, "rows columns"]) -> int:
    """How many drawings there are beside each other, as two digits are.

    Parts of one, as the strokes of a 5 or the dot of an i, lie close together or are small.
    """
    reach = max(1, round(APART * max(drawing.shape) / 2))
    solid = np.pad(drawing > 0.5, reach)
    near = ndimage.distance_transform_edt(~solid) <= reach
    groups, count = ndimage.label(near, structure=np.ones((3, 3)))
    areas = np.bincount(groups[solid], minlength=count + 1)[1:]
    return int((areas >= MIN_SHAPE_AREA * areas.max()).sum())


def thicken(
    drawing: Float32[np.ndarray, "rows columns"], box: tuple[int, int]
) -> Float32[np.ndarray, "new_rows new_columns"]:
    """Widens thin strokes until, scaled into the box, they are MIN_STROKE_WIDTH pixels wide."""
    solid = np.pad(drawing > 0.5, 1)
    width = 4 * ndimage.distance_transform_edt(solid)[solid].mean()  # of a bar: mean distance x 4
    growth = (MIN_STROKE_WIDTH / scale_into(drawing, box) - width) / 2
    if growth <= 0:
        return drawing
    padded = np.pad(drawing, int(np.ceil(growth)))
    distance = ndimage.distance_transform_edt(padded <= 0.5)
    return np.maximum(padded, (growth + 1 - distance).clip(0, 1)).astype(np.float32)


def scale_into(drawing: np.ndarray, box: tuple[int, int]) -> float:
    """By how much a drawing has to be scaled to fill the box one way, and fit in it the other."""
    return min(box[0] / drawing.shape[0], box[1] / drawing.shape[1])


def resize(
    drawing: Float32[np.ndarray, "rows columns"], box: tuple[int, int]
) -> Float32[np.ndarray, "new_rows new_columns"]:
    """As large as fits into the box, with smooth edges; the darkest pixel is 1."""
    rows, columns = (max(1, round(length * scale_into(drawing, box))) for length in drawing.shape)
    image = Image.fromarray(drawing).resize((columns, rows), Image.Resampling.BICUBIC)
    result = np.asarray(image).clip(0, 1)
    return result / result.max()


def center(
    drawing: Float32[np.ndarray, "rows columns"], height: int, width: int
) -> UInt8[Tensor, "1 {height} {width}"]:
    """Its centre of mass in the middle pixel, or as near as it can be without cutting anything."""
    canvas = np.zeros((height, width), np.float32)
    top, left = (
        min(max(round(side / 2 - centre), 0), side - length)
        for side, centre, length in zip(
            canvas.shape, ndimage.center_of_mass(drawing), drawing.shape, strict=True
        )
    )
    canvas[top : top + drawing.shape[0], left : left + drawing.shape[1]] = drawing
    return torch.from_numpy((255 * canvas).round().astype(np.uint8)).unsqueeze(0)
