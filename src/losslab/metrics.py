"""What is measured of a classifier's predictions, and how a comparison shows it."""

import torch
from jaxtyping import Float
from torch import Tensor
from torchmetrics import MeanMetric, Metric, MetricCollection
from torchmetrics.classification import MulticlassCalibrationError
from torchmetrics.utilities import dim_zero_cat

from runlab.measure import Measure

MEASURES = (
    Measure(
        "accuracy", "accuracy", unit="%", difference_unit="points", scale=100.0,
        higher_is_better=True, digits=2, best=100.0, proportion=True,
        milestones=(90.0, 95.0, 97.0), tolerance=0.5,
    ),
    Measure("nll", "NLL"),
    Measure("brier", "Brier score"),
    Measure("ece", "ECE"),
    Measure("loss", "loss", comparable=False),
)  # fmt: skip
"""The first one is primary: it chooses learning rates and checkpoints, and ranks losses."""


class Accuracy(MeanMetric):
    """Share of samples whose likeliest class is right."""

    def update(  # type: ignore[override]
        self, probabilities: Float[Tensor, "batch classes"], labels: Tensor
    ) -> None:
        super().update((probabilities.argmax(dim=1) == labels).float())


class NLL(MeanMetric):
    """Mean −log p[label], natural logarithm; p no smaller than float32's least normal number.

    So it is at most 87.3.
    """

    def update(  # type: ignore[override]
        self, probabilities: Float[Tensor, "batch classes"], labels: Tensor
    ) -> None:
        truth = probabilities.gather(1, labels.unsqueeze(1)).squeeze(1)  # [batch]
        super().update(-truth.clamp(min=torch.finfo(truth.dtype).tiny).log())


class Brier(MeanMetric):
    """Mean Σ_c (p_c − y_c)², 0 to 2 (Brier 1950)."""

    def update(  # type: ignore[override]
        self, probabilities: Float[Tensor, "batch classes"], labels: Tensor
    ) -> None:
        one_hot = torch.zeros_like(probabilities).scatter(1, labels.unsqueeze(1), 1.0)
        super().update((probabilities - one_hot).square().sum(dim=1))


class CalibrationError(MulticlassCalibrationError):
    """Expected calibration error over 15 equal bins of the confidence (Guo et al. 2017).

    NaN of NaN.
    """

    def __init__(self, num_classes: int) -> None:
        super().__init__(num_classes, n_bins=15, validate_args=False)

    def compute(self) -> Float[Tensor, ""]:
        nothing: Tensor = 0 * dim_zero_cat(self.confidences).sum()  # or NaN
        return super().compute() + nothing


def classification_metrics(num_classes: int) -> MetricCollection:
    """Four quantities that no loss defines, of probabilities and labels; NaN stays NaN."""
    metrics: dict[str, Metric | MetricCollection] = {
        "accuracy": Accuracy(nan_strategy="disable"),
        "nll": NLL(nan_strategy="disable"),
        "brier": Brier(nan_strategy="disable"),
        "ece": CalibrationError(num_classes),
    }
    return MetricCollection(metrics, compute_groups=False)
