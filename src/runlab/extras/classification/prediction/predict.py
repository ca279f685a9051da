"""What a trained network sees in a person's own images."""

import sys
from pathlib import Path
from typing import Any

import torch
from hydra.utils import instantiate
from jaxtyping import Num, UInt8
from omegaconf import DictConfig
from torch import Tensor
from torchvision.transforms.functional import to_pil_image

from runlab.config import arguments
from runlab.extras.classification.prediction.bars import bars
from runlab.extras.classification.prediction.drawing import read
from runlab.extras.classification.prediction.files import find
from runlab.extras.classification.prediction.picture import check, picture
from runlab.runs import checkpoint


def predict(cfg: DictConfig) -> None:
    """Prints the class probabilities of each image, and draws them if asked to.

    Raises:
        ValueError: before anything is printed or written, if any part of it cannot be done.
    """
    classifier, config = checkpoint.load(arguments.checkpoint(cfg))
    target = None if cfg.picture is None else Path(str(cfg.picture)).expanduser()
    files = find(arguments.images(cfg), leave_out=target)
    if target is not None:
        check(target, files, cfg.overwrite)
    drawings = torch.stack([read(file, config["data"]["shape"], cfg.margin) for file in files])
    data = instantiate(config["data"])
    with torch.inference_mode():
        probabilities = classifier.predict_probabilities(network_input(data, drawings))
    if not probabilities.isfinite().all():
        raise ValueError(
            f"expected probabilities from the network in {cfg.checkpoint}, got NaN: it diverged"
        )
    encoding = sys.stdout.encoding or "ascii"
    results = zip(files, probabilities, strict=True)
    print("\n\n".join(bars(str(f), p, data.classes, encoding) for f, p in results))
    if target is not None:
        titles = [file.name for file in files]
        picture(titles, drawings, probabilities, data.classes).savefig(target, dpi=150)


def network_input(
    data: Any, images: UInt8[Tensor, "images channels height width"]
) -> Num[Tensor, "images channels height width"]:
    """What validation would make of these images."""
    transform = getattr(data, "eval_transform", None)
    if transform is None:
        return data.normalise(images)
    transformed = torch.stack([transform(to_pil_image(image)) for image in images])
    if transformed.shape != images.shape:
        raise ValueError(
            f"expected data.eval_transform to keep images of the network's shape "
            f"{tuple(images.shape[1:])} as large, got {tuple(transformed.shape[1:])}"
        )
    return data.normalise(transformed) if transformed.dtype == torch.uint8 else transformed
