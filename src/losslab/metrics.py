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


class CalibrationError(MulticlassCalibrationError):
    """Expected calibration error over 15 equal bins of the confidence; NaN of NaN."""

    def __init__(self, num_classes: int) -> None:
        super().__init__(num_classes, n_bins=15, validate_args=False)

    def compute(self) -> Float[Tensor, ""]:
        nothing: Tensor = 0 * dim_zero_cat(self.confidences).sum()  # or NaN
        return super().compute() + nothing


def classification_metrics(num_classes: int) -> MetricCollection:
    """The loss, and four quantities that no loss defines.

    accuracy: share of images whose likeliest class is right. nll: mean −log p[label], natural
    logarithm, p no smaller than float32's least normal number (so at most 87.3). brier: mean
    Σ_c (p_c − y_c)², 0 to 2 (Brier 1950). ece: expected calibration error over 15 equal bins of the
    confidence (Guo et al. 2017). NaN stays NaN.
    """
    metrics: dict[str, Metric | MetricCollection] = {
        name: MeanMetric(nan_strategy="disable") for name in ("loss", "accuracy", "nll", "brier")
    }
    metrics["ece"] = CalibrationError(num_classes)
    return MetricCollection(metrics, compute_groups=False)


def update_metrics(
    metrics: MetricCollection,
    loss: Float[Tensor, ""],
    probabilities: Float[Tensor, "batch classes"],
    labels: Tensor,
) -> None:
    """Adds a batch: its mean loss, and the probabilities of its images' classes."""
    truth = probabilities.gather(1, labels.unsqueeze(1)).squeeze(1)  # [batch]
    one_hot = torch.zeros_like(probabilities).scatter(1, labels.unsqueeze(1), 1.0)
    # once for each image: with nan_strategy="disable" torchmetrics 1.9 ignores a weight
    metrics["loss"].update(loss.expand(len(labels)))
    metrics["accuracy"].update((probabilities.argmax(dim=1) == labels).float())
    metrics["nll"].update(-truth.clamp(min=torch.finfo(truth.dtype).tiny).log())
    metrics["brier"].update((probabilities - one_hot).square().sum(dim=1))
    metrics["ece"].update(probabilities, labels)
