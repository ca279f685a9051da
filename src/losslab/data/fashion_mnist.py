from pathlib import Path
from typing import Any, ClassVar

from torchvision import datasets

from losslab.data.mnist import MNIST
from runlab.extras.classification.download import Source


class FashionMNIST(MNIST):
    """Ten kinds of clothing, in MNIST's format and sizes (Xiao et al., 2017, arXiv 1708.07747)."""

    source: ClassVar[Source] = Source(datasets.FashionMNIST)
    class_names = datasets.FashionMNIST.classes

    def __init__(
        self, root: str | Path, *, mean: float = 0.2860, std: float = 0.3530, **options: Any
    ) -> None:
        super().__init__(root, mean=mean, std=std, **options)
