"""Images beside the class probabilities that a network gives them."""

from collections.abc import Sequence
from pathlib import Path

from jaxtyping import Float, UInt8
from matplotlib.axes import Axes
from matplotlib.backend_bases import FigureCanvasBase
from matplotlib.figure import Figure
from torch import Tensor

from runlab.extras.classification.prediction.bars import percent

MOST = 100
"""Rows; a picture of more could not be looked at, and passes the largest size that can be drawn."""

LIKELIEST, OTHERS, GREY = "#0072B2", "#b8cad6", "#555555"


def check(path: Path, images: Sequence[Path], overwrite: bool) -> None:
    """Raises ValueError unless the picture may be written there."""
    formats = sorted(FigureCanvasBase.get_supported_filetypes())
    if path.suffix.lower().removeprefix(".") not in formats:
        raise ValueError(
            f"expected picture to end in one of .{', .'.join(formats)}, got {path.name!r}"
        )
    if not path.parent.is_dir():
        raise ValueError(
            f"expected an existing folder for picture={path}, got none at {path.parent}"
        )
    if any(path.resolve() == image.resolve() for image in images):
        raise ValueError(f"expected picture to be a new file, got one of the images: {path}")
    if path.is_dir() or (path.exists() and not overwrite):
        raise ValueError(
            f"expected picture to be a new file, but {path} exists: name another, or replace a "
            f"file with overwrite=true"
        )
    if len(images) > MOST:
        raise ValueError(f"expected at most {MOST} images for one picture, got {len(images)}")


def picture(
    titles: Sequence[str],
    images: UInt8[Tensor, "images 1 height width"],
    probabilities: Float[Tensor, "images classes"],
    classes: Sequence[str],
) -> Figure:
    """One row an image: what the network saw, and a bar for each class."""
    row = 0.75 + 0.2 * len(classes)
    figure = Figure(figsize=(7.2, row * len(titles)), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.12, h_pad=0.12)  # type: ignore[union-attr, call-arg]
    grid = figure.subplots(len(titles), 2, squeeze=False, width_ratios=[1, 1.6])
    for axes, title, image, values in zip(grid, titles, images, probabilities, strict=True):
        show_image(axes[0], image[0], title)
        show_bars(axes[1], values.tolist(), classes)
    return figure


def show_image(axes: Axes, image: UInt8[Tensor, "height width"], title: str) -> None:
    axes.imshow(image.numpy(), cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    axes.set_axis_off()
    axes.set_title(title, fontsize=9, color=GREY, parse_math=False)


def show_bars(axes: Axes, probabilities: list[float], classes: Sequence[str]) -> None:
    likeliest = probabilities.index(max(probabilities))
    colours = [LIKELIEST if i == likeliest else OTHERS for i in range(len(classes))]
    places = range(len(classes))
    axes.barh(places, probabilities, color=colours, height=0.72)
    axes.set_xlim(0, 1)
    axes.set_ylim(len(classes) - 0.4, -0.6)
    axes.set_yticks(places, classes, fontsize=9, parse_math=False)
    axes.set_xticks([])
    axes.tick_params(length=0)
    axes.spines[["top", "right", "bottom"]].set_visible(False)
    axes.spines["left"].set_color("#999999")
    for place, probability in zip(places, probabilities, strict=True):
        weight = "bold" if place == likeliest else "normal"
        colour = GREY if percent(probability) != "0.0%" else "#aaaaaa"
        axes.annotate(
            percent(probability), (probability, place), xytext=(4, 0), textcoords="offset points",
            va="center", fontsize=8.5, color=colour, weight=weight, annotation_clip=False,
        )  # fmt: skip
    name = f"{classes[likeliest]} ({percent(probabilities[likeliest])})"
    axes.set_title(name, fontsize=11, color=LIKELIEST, weight="bold", loc="left", parse_math=False)
