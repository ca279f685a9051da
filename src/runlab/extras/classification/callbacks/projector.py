"""What the last layer takes of each image, as points in TensorBoard's projector."""

import logging
from typing import Any

import lightning as L
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from runlab.callbacks.pictures import summary_writers
from runlab.extras.classification.callbacks.first_layer import owns_parameters
from runlab.extras.classification.callbacks.predictions import class_names

log = logging.getLogger(__name__)

MAX_FEATURES = 200
MAX_SIDE = 8192
"""Pixels of a side of the picture of all images, beyond which the projector shows none."""

MAX_MAGNITUDE = 1e15
"""Beyond it single precision may have no squares of distances."""


class Projector(L.Callback):
    """What the last layer takes of each validation image, for TensorBoard's projector.

    Written once, of a fit's last weights, with the images themselves, where these are [channels,
    height, width], and their classes. Of more than 200 features the first 200 principal components
    are written, since they are kept as text. A run that diverged has none, nor have data without
    `classes`.

    Args:
        count: images, the first of the validation, of several processes' those of the first; or as
            many as fit into a picture of 8192 x 8192 pixels.
    """

    def __init__(self, count: int = 1000) -> None:
        if count < 1:
            raise ValueError(f"expected a count of at least 1 image, got {count}")
        self.count = count

    def on_fit_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        network: Any = getattr(pl_module, "network", None)
        writers = summary_writers(trainer)
        if not writers or network is None or not getattr(data, "classes", None):
            return
        images, labels = first_images(data, self.count)
        with trainer.precision_plugin.forward_context():
            features = last_layer_inputs(network, images.to(pl_module.device))
        images, labels, features = images.cpu(), labels.cpu(), features.cpu()
        if not (features.abs() <= MAX_MAGNITUDE).all():
            log.warning(
                "the projector shows nothing: expected what the last layer takes to be finite and "
                "at most %g, got other values; a run that does not diverge has a projector",
                MAX_MAGNITUDE,
            )
            return
        classes = class_names(trainer, len(data.classes))
        names = [classes[label] for label in labels.tolist()]
        thumbnails = to_thumbnails(images) if are_images(images) else None
        for writer in writers:
            writer.add_embedding(
                principal_components(features.float()),
                names,
                thumbnails,
                trainer.global_step,
                tag="projector",
            )


def first_images(
    data: Any, count: int
) -> tuple[Float[Tensor, "images *shape"], Int[Tensor, " images"]]:
    """A data module's first validation images, as the network takes them, and their labels."""
    batches, collected = [], 0
    for batch in data.val_dataloader():
        batches.append(data.on_after_batch_transfer(batch, 0))
        collected += len(batch[1])
        if collected >= count:
            break
    images, labels = map(torch.cat, zip(*batches, strict=True))
    if are_images(images):
        count = min(count, (MAX_SIDE // max(images.shape[2:])) ** 2)
    return images[:count], labels[:count]


@torch.inference_mode()
def last_layer_inputs(
    network: nn.Module, images: Float[Tensor, "images ..."]
) -> Float[Tensor, "images features"]:
    """What the last of the modules with parameters is given; the network is left as it was."""
    *_, last = filter(owns_parameters, network.modules())
    inputs: list[Tensor] = []
    hook = last.register_forward_pre_hook(lambda _, args: inputs.append(args[0].flatten(1)))
    training = network.training
    try:
        network.eval()(images)
    finally:
        hook.remove()
        network.train(training)
    return inputs[-1]


def are_images(inputs: Float[Tensor, "images *shape"]) -> bool:
    """Neither the rows of a table nor series."""
    return inputs.ndim == 4


def principal_components(
    features: Float[Tensor, "images features"],
) -> Float[Tensor, "images at_most_200"]:
    """Coordinates along the directions of largest variance; features as they are if at most 200."""
    if features.shape[1] <= MAX_FEATURES:
        return features
    left, sizes, _ = torch.linalg.svd(features - features.mean(dim=0), full_matrices=False)
    return (left * sizes)[:, :MAX_FEATURES]


def to_thumbnails(
    images: Float[Tensor, "images channels height width"],
) -> Float[Tensor, "images channels side side"]:
    """Each image from its own darkest, 0, to its brightest, 1; made square by its darkest."""
    low = images.amin(dim=(1, 2, 3), keepdim=True)
    scaled = (images - low) / images.sub(low).amax(dim=(1, 2, 3), keepdim=True).clamp(min=1e-30)
    height, width = images.shape[2:]
    side = max(height, width)
    return functional.pad(scaled.float(), [0, side - width, 0, side - height])
