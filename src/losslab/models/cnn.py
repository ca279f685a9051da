from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor, nn


class CNN(nn.Module):
    """Stages of two 3×3 convolutions, each halving the resolution, then one affine map.

    Group normalisation rather than batch normalisation: nothing depends on the other images of the
    batch, and no running statistics have to be kept in step.
    """

    def __init__(
        self,
        shape: Sequence[int],
        num_classes: int,
        widths: Sequence[int] = (32, 64),
        groups: int = 8,
        dropout: float = 0.0,
        activation: nn.Module | None = None,
    ) -> None:
        super().__init__()
        if len(shape) != 3:
            raise ValueError(
                "expected images of shape [channels, height, width] for a CNN, got inputs of shape "
                f"{list(shape)}: choose model=mlp or model=linear"
            )
        channels, height, width = shape
        reduction = 2 ** len(widths)
        if min(height, width) < reduction:
            raise ValueError(
                f"expected images of at least {reduction}×{reduction} pixels for {len(widths)} CNN "
                f"widths, since each stage halves them; got {height}×{width}: use fewer widths"
            )
        if any(stage < 1 or stage % groups for stage in widths):
            raise ValueError(
                f"expected CNN widths divisible by groups={groups}, got {list(widths)}"
            )
        activation = nn.ReLU() if activation is None else activation
        layers: list[nn.Module] = []
        for stage in widths:
            for inputs in (channels, stage):
                layers += [
                    nn.Conv2d(inputs, stage, kernel_size=3, padding=1, bias=False),
                    nn.GroupNorm(groups, stage),
                    activation,
                ]
            layers += [nn.MaxPool2d(2)]
            channels = stage
        self.features = nn.Sequential(*layers)
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(
            channels * (height // reduction) * (width // reduction), num_classes
        )

    def forward(
        self, images: Float[Tensor, "batch channels height width"]
    ) -> Float[Tensor, "batch classes"]:
        features = self.features(images)  # [batch, widths[-1], height/2**stages, width/2**stages]
        return self.output(self.dropout(features.flatten(1)))
