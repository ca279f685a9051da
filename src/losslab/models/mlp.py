from collections.abc import Sequence
from itertools import pairwise
from math import prod

from jaxtyping import Float
from torch import Tensor, nn


class MLP(nn.Module):
    """Fully connected layers with an activation between them.

    With the default widths on 28×28 images and 10 classes: 784-128-64-10, 109,386 parameters.
    """

    def __init__(
        self,
        shape: Sequence[int],
        num_classes: int,
        widths: Sequence[int] = (128, 64),
        activation: nn.Module | None = None,
    ) -> None:
        super().__init__()
        if any(width < 1 for width in widths):
            raise ValueError(f"expected MLP widths of at least 1, got {list(widths)}")
        activation = nn.ReLU() if activation is None else activation
        sizes = [prod(shape), *widths]
        layers: list[nn.Module] = [nn.Flatten()]  # images: [batch, channels·height·width]
        for inputs, outputs in pairwise(sizes):
            layers += [nn.Linear(inputs, outputs), activation]
        self.layers = nn.Sequential(*layers, nn.Linear(sizes[-1], num_classes))

    def forward(self, images: Float[Tensor, "batch ..."]) -> Float[Tensor, "batch classes"]:
        return self.layers(images)
