"""The command that classifies a person's own images."""

import glob
import logging
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Num, UInt8
from omegaconf import DictConfig, OmegaConf
from PIL import Image
from torch import Tensor

from runlab.config import arguments
from runlab.config.targets import build
from runlab.extras.classification.prediction.display import (
    check_target,
    prediction_figure,
    text_bars,
)
from runlab.extras.classification.prediction.preprocessing import (
    Drawing,
    read_drawing,
    require_margin,
)
from runlab.runs import checkpoint
from runlab.text import printable

log = logging.getLogger(__name__)


@dataclass
class Options:
    """What the command may be told, as conf/predict.yaml says."""

    checkpoint: Any = None
    images: Any = None
    picture: str | None = None
    overwrite: bool = False
    margin: int | None = None


def predict(cfg: DictConfig) -> None:
    """Prints the class probabilities of each image, and draws them if asked to.

    An image that shows no drawing is left out.

    Raises:
        ValueError: before anything is printed or written, if no image at all can be classified.
        SystemExit: at the end, with a sentence for each image that was left out.
    """
    cfg = OmegaConf.merge(OmegaConf.structured(Options), cfg)  # type: ignore[assignment]
    module, config = checkpoint.load(arguments.checkpoint(cfg))
    if not hasattr(module, "predict_probabilities"):
        raise ValueError(
            f"expected a module that can predict_probabilities(inputs) in {cfg.checkpoint}, got "
            f"{type(module).__name__}, which cannot: add that method to it"
        )
    patterns = arguments.given(cfg, "images", "a file, a list [one.png,two.jpg] or a folder")
    target = None if cfg.picture is None else Path(str(cfg.picture)).expanduser()
    files = find_images([patterns] if isinstance(patterns, str) else patterns, exclude=target)
    if target is not None:
        check_target(target, files, cfg.overwrite)
    shape = config["data"].get("shape")
    if shape is None:
        raise ValueError(
            f"expected a run whose data say their shape (data.shape) in {cfg.checkpoint}, got one "
            "whose data do not: images can't be made the network's size"
        )
    require_margin(shape, cfg.margin)
    drawings, left_out = read_drawings(files, shape, cfg.margin)
    if not drawings:
        sys.exit("\n".join(left_out))
    images = torch.stack([each.pixels for each in drawings.values()])
    data = build("data", config)
    if not hasattr(data, "normalize"):
        raise ValueError(
            f"expected data that can normalize(images) of bytes, got {type(data).__name__}, which "
            "cannot: add that method to it"
        )
    with torch.inference_mode():
        inputs = network_inputs(data, images)
        probabilities = module.predict_probabilities(inputs)  # type: ignore[operator]
    if not probabilities.isfinite().all():
        raise ValueError(
            f"expected probabilities from the network in {cfg.checkpoint}, got NaN: it diverged"
        )
    names = [*map(str, getattr(data, "classes", None) or range(probabilities.shape[1]))]
    if target is not None:
        titles = [file.name for file in drawings]
        figure = prediction_figure(titles, [*drawings.values()], probabilities, names)
        figure.savefig(target, dpi=150)
    encoding = sys.stdout.encoding or "ascii"
    results = zip(drawings, probabilities, strict=True)
    print("\n\n".join(text_bars(str(f), p, names, encoding) for f, p in results))
    if target is not None:
        print(f"\npicture: {printable(str(target))}")
    sys.stdout.flush()
    for warning in warnings_of(drawings):
        log.warning(warning)
    if left_out:
        sys.exit("\n".join(left_out))


def read_drawings(
    files: Iterable[Path], shape: Sequence[int], margin: int | None
) -> tuple[dict[Path, Drawing], list[str]]:
    """The drawings by their files, and a sentence for each file that shows none."""
    drawings, left_out = {}, []
    for file in files:
        try:
            drawings[file] = read_drawing(file, shape, margin)
        except ValueError as error:
            left_out.append(printable(str(error)))
    return drawings, left_out


def warnings_of(drawings: Mapping[Path, Drawing]) -> list[str]:
    return [
        printable(
            f"{file} shows {drawing.shapes} shapes apart from each other, which were read as one: "
            "give each an image of its own"
        )
        for file, drawing in drawings.items()
        if drawing.shapes > 1
    ]


def network_inputs(
    data: Any, images: UInt8[Tensor, "images channels height width"]
) -> Num[Tensor, "images channels height width"]:
    """What validation would make of these images."""
    transform = getattr(data, "eval_transform", None)
    if transform is None:
        return data.normalize(images)
    transformed = torch.stack([transform(image) for image in images])
    if transformed.shape != images.shape:
        raise ValueError(
            f"expected data.eval_transform to keep images of the network's shape "
            f"{tuple(images.shape[1:])} as large, got {tuple(transformed.shape[1:])}"
        )
    return data.normalize(transformed) if transformed.dtype == torch.uint8 else transformed


def find_images(patterns: Iterable[str], exclude: Path | None = None) -> list[Path]:
    """The files that are meant, in this order, each once.

    Args:
        patterns: each a file, a folder of images, or a pattern such as `drawings/*.png`.
        exclude: a file that is no drawing though it lies in one of the folders.

    Raises:
        ValueError: if one of them has no image file.
    """
    files = [file for pattern in patterns for file in expand(Path(pattern).expanduser(), exclude)]
    return list(dict.fromkeys(files))


def expand(pattern: Path, exclude: Path | None) -> list[Path]:
    if pattern.is_dir():
        files = [path for path in sorted(pattern.iterdir()) if is_image(path, exclude)]
        if not files:
            raise ValueError(f"expected images in the folder {pattern}, found none")
        return files
    if not pattern.exists():
        files = [Path(name) for name in sorted(glob.glob(str(pattern)))]
        if not files:
            raise ValueError(f"expected an image at {pattern}, got no such file")
        return files
    return [pattern]


def is_image(path: Path, exclude: Path | None) -> bool:
    """By its name alone."""
    is_excluded = exclude is not None and path.resolve() == exclude.resolve()
    suffixes = Image.registered_extensions()
    return path.is_file() and path.suffix.lower() in suffixes and not is_excluded
