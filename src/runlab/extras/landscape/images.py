"""The training images on which the surfaces are computed."""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from hydra.utils import instantiate
from jaxtyping import Float, Int
from torch import Tensor

SEED = 20_260
"""Of the permutation whose first images are taken; no run has it by chance as its own order."""


def training_images(
    config: Mapping[str, Any], count: int
) -> tuple[Float[Tensor, "images ..."], Int[Tensor, " images"]]:
    """The first of a permutation of the training split, as training sees them; fewer if it is less.

    Random transforms, where the data have them, are drawn once, by a fixed seed.
    """
    data = instantiate({**config, "seed": SEED} if "seed" in config else config)
    data.prepare_data()
    data.setup("fit")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        batches = list(enough(data, count))
    images, labels = (torch.cat(parts)[:count] for parts in zip(*batches, strict=True))
    return images, labels


def enough(data: Any, count: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches of an epoch until they hold that many images."""
    for batch in data.train_dataloader():
        images, labels = data.on_after_batch_transfer(batch, 0)
        if labels.ndim == 2:  # a block of steps
            images, labels = images.flatten(0, 1), labels.flatten()
            images = data.normalise(images) if images.dtype == torch.uint8 else images
        yield images, labels
        count -= len(labels)
        if count <= 0:
            return
