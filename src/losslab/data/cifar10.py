from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

import torch
from torchvision import datasets

from losslab.data._images import ImageData, Numbers, crop_and_flip
from runlab.data import Content, stamps
from runlab.runs.lock import take_turns


class CIFAR10(ImageData):
    """Photographs of ten kinds of objects, 50,000 and 10,000 for test (Krizhevsky, 2009).

    Args:
        root: torchvision's `cifar-10-batches-py` lies there, its files verified by their MD5s.
        mean, std: of pixel / 255 over the training images, by channel.
        augment: whether training images are moved by up to 4 pixels and flipped at random.
        download: whether the archive is fetched, if the files are not there.
        others: as of `ImageData`.
    """

    class_names: ClassVar[Sequence[str]] = (
        *("airplane", "automobile", "bird", "cat", "deer"),
        *("dog", "frog", "horse", "ship", "truck"),
    )

    def __init__(
        self,
        root: str | Path,
        shape: Sequence[int] = (3, 32, 32),
        num_classes: int = 10,
        mean: Numbers = (0.4914, 0.4822, 0.4465),
        std: Numbers = (0.2470, 0.2435, 0.2616),
        augment: bool = False,
        download: bool = True,
        **others: Any,
    ) -> None:
        super().__init__(shape, num_classes, mean, std, **others)
        self.root = Path(root).expanduser()
        if augment:
            self.augment = crop_and_flip
        self.download = download

    def prepare_data(self) -> None:
        """Verifies the files, and fetches them where they are missing or damaged."""
        try:
            verified(self.root, train=True)
        except ValueError:
            if not self.download:
                raise
            self.root.mkdir(parents=True, exist_ok=True)
            with take_turns(self.root / ".cifar10.lock", "fetch the data"):
                verified(self.root, train=True, download=True)

    def read(self) -> Content:
        batches = datasets.CIFAR10.train_list + datasets.CIFAR10.test_list
        folder = self.root / datasets.CIFAR10.base_folder
        files = [folder / name for name, _ in batches]
        return read_files(self.root, stamps(file for file in files if file.is_file()))


@lru_cache(maxsize=1)
def read_files(root: Path, _: Any) -> Content:
    """Images [images, 3, 32, 32] of bytes with labels, read once a process."""
    train, test = (verified(root, train=is_train) for is_train in (True, False))
    return Content(tensors(train), tensors(test))


def tensors(dataset: Any) -> tuple[torch.Tensor, torch.Tensor]:
    images = torch.from_numpy(dataset.data)  # [images, height, width, channels]
    return images.permute(0, 3, 1, 2).contiguous(), torch.tensor(dataset.targets)


def verified(root: Path, train: bool, download: bool = False) -> Any:
    """torchvision's data set, which unpickles files only once their MD5s are those it knows."""
    try:
        return datasets.CIFAR10(root, train=train, download=download)
    except (RuntimeError, OSError) as error:
        raise ValueError(
            f"expected CIFAR-10's files in {root / datasets.CIFAR10.base_folder}, got: {error}; "
            f"put torchvision's {datasets.CIFAR10.filename} into {root} and set data.download=true,"
            " or unpack it there yourself"
        ) from error
