from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from jaxtyping import UInt8
from PIL import Image, ImageOps
from torch import Tensor
from torchvision import datasets
from torchvision.transforms.functional import pil_to_tensor

from losslab.data._images import ImageData, Numbers, flip
from runlab.blocks.loader import Samples
from runlab.data import Content, stamps

FORMS = {1: "L", 3: "RGB"}
"""PIL's names of grey and coloured images, by their channels."""

DEEPER = ("I", "F")
"""How PIL's names of images with more than 8 bits a channel begin, which it would cut off."""

PARTS = {"train", "test", "val", "valid", "validation"}
"""Folders of these names alone are no classes."""


class ImageFolder(ImageData):
    """A user's own images, `<root>/<folder>/<class>/*.png` or .jpg, as torchvision finds them.

    With `<folder>/train/<class>` and `<folder>/test/<class>` the test images are those; otherwise
    `test_size` of all are split off. They are decoded once a process, turned upright as their EXIF
    data say, and lie in memory as bytes: of 8 bits a channel, and opaque.

    Args:
        shape: [1, height, width] for grey or [3, height, width] for colour; each image is resized
            to it, whatever its own proportions.
        num_classes: how many folders there are; they are numbered by the order of their names.
        augment: whether training images are flipped at random, left to right.
        others: as of `ImageData`.
    """

    def __init__(
        self,
        root: str | Path,
        shape: Sequence[int],
        num_classes: int,
        mean: Numbers,
        std: Numbers,
        folder: str = "images",
        augment: bool = False,
        **others: Any,
    ) -> None:
        if len(shape) == 3 and shape[0] not in FORMS:
            raise ValueError(
                f"expected data.shape of 1 channel (grey) or 3 (colour), got {[*shape]}: set "
                f"data.shape=[3,{shape[1]},{shape[2]}], say"
            )
        super().__init__(shape, num_classes, mean, std, **others)
        self.folder = Path(root).expanduser() / folder
        if augment:
            self.augment = flip

    @property
    def classes(self) -> list[str]:
        return find(self.parts[0]).classes

    @property
    def parts(self) -> list[Path]:
        """The folders of classes: one, or those for training and for test."""
        found = {path.name for path in self.folder.glob("*") if path.is_dir()}
        parts = found & PARTS
        if parts == {"train", "test"}:
            return [self.folder / "train", self.folder / "test"]
        if parts and (parts == found or parts > {"train", "test"}):
            raise ValueError(
                f"expected folders of classes in {self.folder}, or train and test, got "
                f"{', '.join(sorted(parts))}: take validation images into train, of which "
                "data.val_size are split off, and without a test folder put the classes of train "
                "there themselves"
            )
        return [self.folder]

    def prepare_data(self) -> None:
        found = [find(part).classes for part in self.parts]
        if found[0] != found[-1]:
            raise ValueError(
                f"expected the same classes in {self.parts[0]} and {self.parts[1]}, got "
                f"{', '.join(found[0])} and {', '.join(found[1])}"
            )
        if len(found[0]) != self.num_classes:
            raise ValueError(
                f"expected {self.num_classes} folders of classes (data.num_classes) in "
                f"{self.parts[0]}, got {len(found[0])}: set data.num_classes={len(found[0])}"
            )

    def read(self) -> Content:
        files = [Path(path) for part in self.parts for path, _ in find(part).samples]
        pairs = [decode_all(part, self.shape, stamps(files)) for part in self.parts]
        return Content(pairs[0], pairs[1] if len(pairs) > 1 else None)


def find(folder: Path) -> datasets.ImageFolder:
    """Its images with their classes. Raises ValueError if it has none."""
    try:
        return datasets.ImageFolder(folder)
    except OSError as error:
        raise ValueError(
            f"expected images in {folder}/<class>/, one folder a class, got: {error}"
        ) from error


@lru_cache(maxsize=2)
def decode_all(folder: Path, shape: Sequence[int], _: Any) -> Samples:
    """Images [images, channels, height, width] and labels, decoded once while no file changes."""
    samples = find(folder).samples
    images = torch.empty(len(samples), *shape, dtype=torch.uint8)
    for index, (path, _label) in enumerate(samples):
        images[index] = decode(path, shape)
    return Samples(images, torch.tensor([label for _, label in samples]))


def check_pixels(image: Image.Image) -> None:
    """Raises ValueError for what PIL would drop in silence."""
    if image.mode.startswith(DEEPER):
        raise ValueError(f"more than 8 bits a channel, mode {image.mode}: scale it to 0 to 255")
    if image.has_transparency_data and pil_to_tensor(image.convert("RGBA"))[3].min() < 255:
        raise ValueError("transparent pixels, whose colour is not what is seen: give it a ground")


def decode(path: str, shape: Sequence[int]) -> UInt8[Tensor, "channels height width"]:
    channels, height, width = shape
    try:
        with Image.open(path) as image:
            check_pixels(image)
            upright = ImageOps.exif_transpose(image)  # a camera held sideways
            resized = upright.convert(FORMS[channels]).resize(
                (width, height), Image.Resampling.BILINEAR
            )
            return pil_to_tensor(resized)
    except (OSError, ValueError, SyntaxError) as error:  # whatever PIL's readers raise
        raise ValueError(
            f"expected an image in {path}, got what cannot be decoded ({error}): replace it, or "
            "take it out of the folder"
        ) from error
