"""What is wrong with a data set's settings, said before training starts; all raise ValueError."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from runlab.blocks.loader import ImageDataset
from runlab.extras.classification.idx import Images

LOADERS = ("tensor", "dataloader")


def check_at_least(least: int, **settings: int) -> None:
    for name, value in settings.items():
        if not isinstance(value, int) or value < least:
            raise ValueError(
                f"data.{name}: expected a whole number of at least {least}, got {value!r}"
            )


def check_batch_size(batch_size: int, train_size: int) -> None:
    if batch_size > train_size:
        raise ValueError(
            f"data.batch_size: expected at most {train_size:,}, the number of training images "
            f"(data.train_size), got {batch_size:,}; lower it"
        )


def check_normalisation(mean: float, std: float) -> None:
    if not (math.isfinite(mean) and math.isfinite(std) and std > 0):
        raise ValueError(
            f"data.mean and data.std: expected finite numbers, std above 0, got {mean} and {std}; "
            "both are in units of pixel / 255"
        )


def check_loader(loader: str, **per_image: object) -> None:
    """`per_image`: settings that only the loader of single images can heed."""
    if loader not in LOADERS:
        raise ValueError(f"data.loader: expected {' or '.join(LOADERS)}, got {loader!r}")
    for name, value in per_image.items():
        if loader == "tensor" and value not in (None, 0):
            raise ValueError(
                f"data.{name}: expected none with data.loader=tensor, which handles no image by "
                f"itself, got {value}; set data.loader=dataloader"
            )


def check_split(train_size: int, val_size: int, available: int) -> None:
    if train_size + val_size != available:
        raise ValueError(
            f"expected {available:,} = data.train_size + data.val_size, got {train_size:,} + "
            f"{val_size:,} = {train_size + val_size:,}; change one of them"
        )


def check_shares(batch_size: int, world_size: int) -> None:
    if batch_size % world_size != 0:
        raise ValueError(
            f"data.batch_size: expected a multiple of {world_size}, the number of devices that "
            f"share each batch, got {batch_size}; change it or the number of devices"
        )


def check_transforms(
    data: Images,
    shape: Sequence[int],
    transform: Callable[..., Any] | None,
    eval_transform: Callable[..., Any] | None,
) -> None:
    """Both must give tensors of that shape and of one dtype, judged by the first image."""
    with torch.random.fork_rng(devices=[]):
        results = [ImageDataset(data, each).image(0) for each in (transform, eval_transform)]
    for name, image in zip(("transform", "eval_transform"), results, strict=True):
        got = tuple(image.shape) if isinstance(image, Tensor) else type(image).__name__
        if got != tuple(shape):
            raise ValueError(
                f"data.{name}: expected a tensor of shape {tuple(shape)} (data.shape), got {got}; "
                "end it with PILToTensor() or ToTensor(), and resize in both transforms or neither"
            )
    if results[0].dtype != results[1].dtype:
        raise ValueError(
            "data.transform and data.eval_transform: expected images of one dtype, so that all are "
            f"normalised alike, got {results[0].dtype} and {results[1].dtype}; end both alike"
        )
