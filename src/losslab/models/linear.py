from collections.abc import Sequence
from math import prod

from jaxtyping import Float
from torch import Tensor, nn


class Linear(nn.Module):
    """Softmax regression's network: one affine map of the pixels, or of a table's features."""

    def __init__(self, shape: Sequence[int], num_classes: int) -> None:
        super().__init__()
        self.output = nn.Linear(prod(shape), num_classes)

    def forward(self, images: Float[Tensor, "batch ..."]) -> Float[Tensor, "batch classes"]:
        return self.output(images.flatten(1))
