"""What is measured of a classifier's predictions, how that is shown, and what a guess is."""

from collections.abc import Mapping
from math import sqrt

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

CALIBRATION = ("nll", "brier", "ece")
"""Those of probabilities: without these there are none."""


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


def classification_metrics(num_classes: int, has_probabilities: bool = True) -> MetricCollection:
    """Quantities that no loss defines, of probabilities and labels; NaN stays NaN.

    Without probabilities it is the accuracy alone: the largest output is the likeliest class.
    """
    metrics: dict[str, Metric | MetricCollection] = {"accuracy": Accuracy(nan_strategy="disable")}
    if has_probabilities:
        metrics |= {
            "nll": NLL(nan_strategy="disable"),
            "brier": Brier(nan_strategy="disable"),
            "ece": CalibrationError(num_classes),
        }
    return MetricCollection(metrics, compute_groups=False)


class Chance(Metric):
    """Σ_c P(label = c) · P(prediction = c): how often guesses would be right.

    Guesses that name each class as often as the predictions do, and know nothing of the image
    (Cohen 1960). Whoever always names one class has exactly this accuracy, however common it is.
    """

    labels: Tensor
    predictions: Tensor

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        for state in ("labels", "predictions"):
            self.add_state(state, torch.zeros(num_classes), dist_reduce_fx="sum")

    def update(self, probabilities: Float[Tensor, "batch classes"], labels: Tensor) -> None:
        nothing, predicted = torch.zeros_like(probabilities), probabilities.argmax(dim=1)
        # not `bincount`, for which a GPU would have to tell the largest
        self.labels += nothing.scatter(1, labels.unsqueeze(1), 1.0).sum(dim=0)
        self.predictions += nothing.scatter(1, predicted.unsqueeze(1), 1.0).sum(dim=0)

    def compute(self) -> Float[Tensor, ""]:
        return (self.predictions * self.labels).sum() / self.labels.sum().square()


FEWEST = 30
"""Samples that a share needs for its distribution to be near a normal one, as two errors assume."""


def is_guess(last: Mapping[str, float], best: Mapping[str, float]) -> bool:
    """Whether a classifier ends as a guess, or kept less than it lost of what it had learned.

    It ends as a guess if its accuracy is above chance by at most two standard errors of a share of
    n samples, √(chance (1 − chance) / n): of guesses 2% are further above. Chance is what guesses
    reach that name the classes as often as its predictions do, so neither the number of classes
    nor their shares matter: 10% of 1,000 classes is learned, all ones is not. A run that had
    learned more and fell back, as from 97% to 20.6% of 10 classes, is not above it by half as much
    as its best weights were.

    Nothing is said of a run that cannot be judged: by fewer than 30 samples, or where all of them
    right would not be above chance by two standard errors, as of samples that are of one class.

    Args:
        last: `val/accuracy`, `val/chance` and `val/samples` of the last validation.
        best: those of the best weights.
    """
    chance, samples = last["val/chance"], last["val/samples"]
    error = sqrt(chance * (1 - chance) / samples)
    if samples < FEWEST or 1 - chance <= 2 * error:
        return False
    gain, best_gain = (each["val/accuracy"] - each["val/chance"] for each in (last, best))
    return gain <= 2 * error or gain < best_gain / 2
