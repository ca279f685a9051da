"""What image data sets have in common: shape, classes, normalization, transforms, augmentation."""

import math
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import torch
from jaxtyping import Float, UInt8
from torch import Generator, Tensor
from torchvision.transforms.functional import to_pil_image

from runlab.data import Content, TensorData, check_at_least

Numbers = float | Sequence[float]


class ImageData(TensorData):
    """Images [channels, height, width] of bytes, each with its class, a whole number from 0.

    Args:
        shape: of an image, as the network gets it.
        mean, std: of pixel / 255, one number each or one for each channel; both normalize images
            for the network.
        transform: takes a PIL image and is for training, eval_transform for validation and test;
            both need `loader="dataloader"`.
        sizes: and whatever else a `TensorData` takes.

    Raises:
        ValueError: if the images read are of another shape, or of more classes.
    """

    class_names: ClassVar[Sequence[str]] = ()

    def __init__(
        self,
        shape: Sequence[int],
        num_classes: int,
        mean: Numbers,
        std: Numbers,
        transform: Callable[..., Any] | None = None,
        eval_transform: Callable[..., Any] | None = None,
        **sizes: Any,
    ) -> None:
        if len(shape) != 3 or min(shape) < 1:
            raise ValueError(
                f"expected data.shape as [channels,height,width], got {[*shape]}: set data.shape="
                "[3,64,64], say"
            )
        transforms = [each and OnImage(each) for each in (transform, eval_transform)]
        super().__init__(transform=transforms[0], eval_transform=transforms[1], **sizes)
        check_at_least(2, num_classes=num_classes)
        self.shape = tuple(shape)
        self.num_classes = num_classes
        self.mean = mean if isinstance(mean, int | float) else tuple(mean)
        self.std = std if isinstance(std, int | float) else tuple(std)
        check_normalization(self.mean, self.std, self.shape)

    @property
    def classes(self) -> list[str]:
        """Names of the classes; plain numbers where the data are a user's own."""
        named = len(self.class_names) == self.num_classes
        return list(self.class_names) if named else [str(i) for i in range(self.num_classes)]

    def setup(self, stage: str | None = None) -> None:
        check_images(self.content, None if self._has_transforms else self.shape, self.num_classes)
        super().setup(stage)
        if self._has_transforms:
            check_transforms(self.content.train[0][0], self.shape, *self._both_transforms)

    def normalize(
        self, inputs: UInt8[Tensor, "*batch channels height width"]
    ) -> Float[Tensor, "*batch channels height width"]:
        scaled = inputs.float().div_(255)
        if isinstance(self.mean, int | float) and isinstance(self.std, int | float):
            return scaled.sub_(self.mean).div_(self.std)
        means, stds = (by_channel(each, self.shape) for each in (self.mean, self.std))
        # plain numbers for each channel: a tensor of them would be copied to a GPU at every step
        channels = zip(scaled.unbind(-3), means, stds, strict=True)
        return torch.stack([(channel - mean) / std for channel, mean, std in channels], dim=-3)

    @property
    def _both_transforms(self) -> tuple[Any, Any]:
        return self.transform, self.eval_transform

    @property
    def _has_transforms(self) -> bool:
        """Whether images may leave the loader in another shape than that of the files."""
        return any(each is not None for each in self._both_transforms)


class OnImage:
    """A torchvision transform of a PIL image, for a tensor [channels, height, width] of bytes."""

    def __init__(self, transform: Callable[..., Any]) -> None:
        self.transform = transform

    def __call__(self, image: UInt8[Tensor, "channels height width"]) -> Any:
        return self.transform(to_pil_image(image))

    def __repr__(self) -> str:
        return repr(self.transform)


# Augmentation of a whole batch


def flip(
    images: UInt8[Tensor, "batch channels height width"], generator: Generator
) -> UInt8[Tensor, "batch channels height width"]:
    """Each image, with probability 1/2, its mirror image: left is right."""
    is_flipped = torch.rand(len(images), 1, 1, 1, generator=generator, device=images.device) < 0.5
    return torch.where(is_flipped, images.flip(-1), images)


def crop_and_flip(
    images: UInt8[Tensor, "batch channels height width"], generator: Generator, padding: int = 4
) -> UInt8[Tensor, "batch channels height width"]:
    """Each image moved by up to `padding` pixels both ways, 0 where it was not, and flipped."""
    batch, channels, height, width = images.shape
    padded = torch.nn.functional.pad(images, [padding] * 4)
    y, x = torch.randint(
        2 * padding + 1, (2, batch, 1), generator=generator, device=images.device
    )  # corners of the crops: each [batch, 1]
    rows = (y + torch.arange(height, device=images.device)).view(batch, 1, height, 1)
    columns = (x + torch.arange(width, device=images.device)).view(batch, 1, 1, width)
    number = torch.arange(batch, device=images.device).view(batch, 1, 1, 1)
    channel = torch.arange(channels, device=images.device).view(1, channels, 1, 1)
    return flip(padded[number, channel, rows, columns], generator)


# What a user may get wrong


def by_channel(value: Numbers, shape: Sequence[int]) -> Sequence[float]:
    return [value] * shape[0] if isinstance(value, int | float) else value


def check_normalization(mean: Numbers, std: Numbers, shape: Sequence[int]) -> None:
    means, stds = by_channel(mean, shape), by_channel(std, shape)
    if not all(map(math.isfinite, [*means, *stds])) or min(stds) <= 0:
        raise ValueError(
            f"data.mean and data.std: expected finite numbers, std above 0, got {mean} and {std}; "
            "both are in units of pixel / 255"
        )
    if not len(means) == len(stds) == shape[0]:
        raise ValueError(
            f"data.mean and data.std: expected one number, or {shape[0]}, one for each channel of "
            f"data.shape {list(shape)}, got {mean} and {std}"
        )


def check_images(content: Content, shape: Sequence[int] | None, num_classes: int) -> None:
    for images, labels in content.pairs:
        got = tuple(images.shape[1:])
        if shape is not None and got != tuple(shape):
            raise ValueError(
                f"expected images of shape {tuple(shape)} (data.shape), got {got}: set "
                f"data.shape={list(got)}"
            )
        if labels.min() < 0 or labels.max() >= num_classes:
            raise ValueError(
                f"expected labels 0 to {num_classes - 1} (data.num_classes={num_classes}), got "
                f"{int(labels.min())} to {int(labels.max())}: set "
                f"data.num_classes={int(labels.max()) + 1}"
            )


def check_transforms(
    image: UInt8[Tensor, "channels height width"],
    shape: Sequence[int],
    transform: Callable[[Tensor], Any] | None,
    eval_transform: Callable[[Tensor], Any] | None,
) -> None:
    """Both must give tensors of that shape and of one dtype, judged by one image."""
    with torch.random.fork_rng(devices=[]):
        results = [image if each is None else each(image) for each in (transform, eval_transform)]
    for name, result in zip(("transform", "eval_transform"), results, strict=True):
        got = tuple(result.shape) if isinstance(result, Tensor) else type(result).__name__
        if got != tuple(shape):
            raise ValueError(
                f"data.{name}: expected a tensor of shape {tuple(shape)} (data.shape), got {got}; "
                "end it with PILToTensor() or ToTensor(), and resize in both transforms or neither"
            )
    if results[0].dtype != results[1].dtype:
        raise ValueError(
            "data.transform and data.eval_transform: expected images of one dtype, so that all are "
            f"normalized alike, got {results[0].dtype} and {results[1].dtype}; end both alike"
        )
