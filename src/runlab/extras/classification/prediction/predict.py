"""The command that classifies a person's own images."""

import glob
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Num, UInt8
from omegaconf import DictConfig
from PIL import Image
from torch import Tensor

from runlab.config import arguments
from runlab.config.targets import build
from runlab.extras.classification.prediction.display import (
    check_target,
    prediction_figure,
    text_bars,
)
from runlab.extras.classification.prediction.preprocessing import read_drawing
from runlab.runs import checkpoint


def predict(cfg: DictConfig) -> None:
    """Prints the class probabilities of each image, and draws them if asked to.

    Raises:
        ValueError: before anything is printed or written, if any part of it cannot be done.
    """
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
    drawings = torch.stack([read_drawing(file, shape, cfg.margin) for file in files])
    data = build("data", config)
    if not hasattr(data, "normalize"):
        raise ValueError(
            f"expected data that can normalize(images) of bytes, got {type(data).__name__}, which "
            "cannot: add that method to it"
        )
    with torch.inference_mode():
        inputs = network_inputs(data, drawings)
        probabilities = module.predict_probabilities(inputs)  # type: ignore[operator]
    if not probabilities.isfinite().all():
        raise ValueError(
            f"expected probabilities from the network in {cfg.checkpoint}, got NaN: it diverged"
        )
    names = [*map(str, getattr(data, "classes", None) or range(probabilities.shape[1]))]
    if target is not None:
        titles = [file.name for file in files]
        figure = prediction_figure(titles, drawings, probabilities, names)
        figure.savefig(target, dpi=150)
    encoding = sys.stdout.encoding or "ascii"
    results = zip(files, probabilities, strict=True)
    print("\n\n".join(text_bars(str(f), p, names, encoding) for f, p in results))


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
