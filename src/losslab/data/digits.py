from collections.abc import Sequence
from typing import Any, ClassVar

import torch

from losslab.data._images import ImageData, Numbers
from runlab.data import Content


class Digits(ImageData):
    """1,797 handwritten digits of 8×8 pixels that come with scikit-learn: nothing is downloaded.

    The test images of the UCI Optical Recognition of Handwritten Digits data set (Alpaydin and
    Kaynak, 1998), in its order; `test_size` of them are split off for test.

    Args:
        mean, std: of pixel / 255 over the images, whose 17 shades are spread over 0 to 255.
        others: as of `ImageData`.
    """

    class_names: ClassVar[Sequence[str]] = [str(digit) for digit in range(10)]

    def __init__(
        self,
        shape: Sequence[int] = (1, 8, 8),
        num_classes: int = 10,
        mean: Numbers = 0.3053,
        std: Numbers = 0.3759,
        **others: Any,
    ) -> None:
        super().__init__(shape, num_classes, mean, std, **others)

    def read(self) -> Content:
        try:
            from sklearn.datasets import load_digits
        except ImportError as error:
            raise ValueError(
                "expected scikit-learn, which holds these digits, got none: "
                "pip install 'losslab[digits]'"
            ) from error
        digits = load_digits()
        shades = torch.from_numpy(digits.images) * 255 / 16  # [images, height, width]
        images = shades.round().to(torch.uint8).unsqueeze(1)
        return Content((images, torch.from_numpy(digits.target).long()))
