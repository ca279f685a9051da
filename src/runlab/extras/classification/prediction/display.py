"""Class probabilities as text, and as a picture beside the images that they belong to."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8
from matplotlib.axes import Axes
from matplotlib.backend_bases import FigureCanvasBase
from matplotlib.figure import Figure
from torch import Tensor

from runlab.extras.classification.prediction.preprocessing import Drawing
from runlab.text import printable

LINE_LENGTH = 80
MAX_BAR_LENGTH = 50
MAX_NAME_LENGTH = 30
EIGHTHS = " ▏▎▍▌▋▊▉█"

MAX_ROWS = 100
"""A picture of more could not be looked at, and passes the largest size that can be drawn."""

LIKELIEST, OTHERS, GREY = "#0072B2", "#b8cad6", "#555555"


def format_percent(probability: float) -> str:
    """To a tenth; never certain, which no network is."""
    text = f"{probability:.1%}"
    return ">99.9%" if text == "100.0%" else text


# As text


def text_bars(
    title: str,
    probabilities: Float[Tensor, " classes"],
    classes: Sequence[str],
    encoding: str = "utf-8",
) -> str:
    """The title with the likeliest class, then a bar a class: `#` if the encoding has no blocks."""
    likeliest = int(probabilities.argmax())
    names = [shorten(printable(name)) for name in classes]
    width = max(map(len, names))
    length = min(MAX_BAR_LENGTH, LINE_LENGTH - len("     >99.9%") - width)
    bar = block_bar if can_encode(EIGHTHS, encoding) else hash_bar
    answer = f"{title}: {classes[likeliest]} ({format_percent(float(probabilities[likeliest]))})"
    lines = [printable(answer)]
    for name, probability in zip(names, probabilities.tolist(), strict=True):
        padded = bar(probability, length).ljust(length)
        lines.append(f"  {name.ljust(width)}  {padded} {format_percent(probability):>6}")
    return "\n".join(lines).encode(encoding, "backslashreplace").decode(encoding)


def block_bar(probability: float, length: int) -> str:
    whole, eighths = divmod(round(8 * length * probability), 8)
    return "█" * whole + EIGHTHS[eighths].strip()


def hash_bar(probability: float, length: int) -> str:
    return "#" * round(length * probability)


def shorten(name: str) -> str:
    return name if len(name) <= MAX_NAME_LENGTH else f"{name[: MAX_NAME_LENGTH - 2]}.."


def can_encode(text: str, encoding: str) -> bool:
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return False
    return True


# As a picture


def check_target(path: Path, images: Sequence[Path], overwrite: bool) -> None:
    """Raises ValueError unless a picture of these images may be written there."""
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
    if len(images) > MAX_ROWS:
        raise ValueError(f"expected at most {MAX_ROWS} images for one picture, got {len(images)}")


def prediction_figure(
    titles: Sequence[str],
    drawings: Sequence[Drawing],
    probabilities: Float[Tensor, "images classes"],
    classes: Sequence[str],
) -> Figure:
    """One row an image: the original, what the network saw of it, and a bar for each class."""
    row = 0.75 + 0.2 * len(classes)
    figure = Figure(figsize=(9, row * len(titles)), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.12, h_pad=0.12)  # type: ignore[union-attr, call-arg]
    grid = figure.subplots(len(titles), 3, squeeze=False, width_ratios=[1, 1, 1.6])
    for axes, title, drawing, values in zip(grid, titles, drawings, probabilities, strict=True):
        height, width = drawing.pixels.shape[1:]
        plot_image(axes[0], drawing.original, shorten(title))
        plot_image(axes[1], drawing.pixels[0].numpy(), f"seen as {width} × {height} pixels")
        plot_bars(axes[2], values.tolist(), classes)
    return figure


def plot_image(axes: Axes, image: UInt8[np.ndarray, "height width ..."], title: str) -> None:
    axes.imshow(image, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    axes.set_axis_off()
    axes.set_title(title, fontsize=9, color=GREY, parse_math=False)


def plot_bars(axes: Axes, probabilities: list[float], classes: Sequence[str]) -> None:
    likeliest = probabilities.index(max(probabilities))
    colours = [LIKELIEST if i == likeliest else OTHERS for i in range(len(classes))]
    positions = range(len(classes))
    axes.barh(positions, probabilities, color=colours, height=0.72)
    axes.set_xlim(0, 1)
    axes.set_ylim(len(classes) - 0.4, -0.6)
    axes.set_yticks(positions, classes, fontsize=9, parse_math=False)
    axes.set_xticks([])
    axes.tick_params(length=0)
    axes.spines[["top", "right", "bottom"]].set_visible(False)
    axes.spines["left"].set_color("#999999")
    for position, probability in zip(positions, probabilities, strict=True):
        weight = "bold" if position == likeliest else "normal"
        percent = format_percent(probability)
        axes.annotate(
            percent, (probability, position), xytext=(4, 0), textcoords="offset points",
            va="center", fontsize=8.5, color=GREY if percent != "0.0%" else "#aaaaaa",
            weight=weight, annotation_clip=False,
        )  # fmt: skip
    name = f"{classes[likeliest]} ({format_percent(probabilities[likeliest])})"
    axes.set_title(name, fontsize=11, color=LIKELIEST, weight="bold", loc="left", parse_math=False)
