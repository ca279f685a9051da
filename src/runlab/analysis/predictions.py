"""What the chosen cells' runs said of the test images: reliability and confusion."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from runlab.analysis.kept import Predictions
from runlab.analysis.statistics import mean_interval

BINS = 15
RELIABILITY = ["arm", "learning_rate", "n", "bin_low", "bin_high", "images", "confidence"]
RELIABILITY += ["accuracy", "accuracy_low", "accuracy_high"]
CONFUSION = ["arm", "learning_rate", "n", "truth", "predicted", "images", "share"]


def reliability(runs: pd.DataFrame, kept: Mapping[str, Predictions]) -> pd.DataFrame:
    """One row an arm and bin of confidence that holds images: 15 equal ones, as for the ECE.

    `images` are those of all runs, `confidence` their mean, `accuracy` the mean over the runs that
    have images in the bin, with Student's 95% interval over them. Fractions.
    """
    rows = [
        (arm, rate, len(group), *row)
        for (arm, rate), group in _with_predictions(runs, kept)
        for row in _bins([kept[run] for run in group["run"]])
    ]
    return pd.DataFrame(rows, columns=RELIABILITY)


def confusion(runs: pd.DataFrame, kept: Mapping[str, Predictions]) -> pd.DataFrame:
    """One row an arm, true class and predicted one: `images` in the mean over runs, and `share`."""
    rows = [
        (arm, rate, len(group), *row)
        for (arm, rate), group in _with_predictions(runs, kept)
        for row in _counts([kept[run] for run in group["run"]])
    ]
    return pd.DataFrame(rows, columns=CONFUSION)


def _with_predictions(
    runs: pd.DataFrame, kept: Mapping[str, Predictions]
) -> list[tuple[tuple[str, float], pd.DataFrame]]:
    known = runs[runs["run"].isin(kept)]
    return list(known.groupby(["arm", "learning_rate"], sort=False))  # type: ignore[arg-type]


def _bins(runs: list[Predictions]) -> list[tuple[float, ...]]:
    finite = [np.nan_to_num(run.confidence.astype(float)) for run in runs]
    bins = [np.clip(np.ceil(each * BINS) - 1, 0, BINS - 1).astype(int) for each in finite]
    images = np.array([np.bincount(each, minlength=BINS) for each in bins])  # [runs, bins]
    sums = zip(bins, runs, finite, strict=True)
    totals = [
        (np.bincount(b, run.correct, minlength=BINS), np.bincount(b, c, minlength=BINS))
        for b, run, c in sums
    ]
    correct, confidence = (np.array(each) for each in zip(*totals, strict=True))
    return [_bin(i, images[:, i], correct[:, i], confidence[:, i]) for i in range(BINS)
            if images[:, i].any()]  # fmt: skip


def _bin(
    place: int, images: NDArray[np.int64], correct: NDArray, confidence: NDArray
) -> tuple[float, ...]:
    there = images > 0
    accuracy = correct[there] / images[there]
    mean = confidence.sum() / images.sum()
    bounds = (place / BINS, (place + 1) / BINS)
    low, high = mean_interval(accuracy)
    return (*bounds, int(images.sum()), float(mean), float(accuracy.mean()), low, high)


def _counts(runs: list[Predictions]) -> list[tuple[int, int, float, float]]:
    classes = 1 + max(max(int(run.label.max()), int(run.predicted.max())) for run in runs)
    pairs = [run.label.astype(int) * classes + run.predicted for run in runs]
    counts = np.mean([np.bincount(pair, minlength=classes**2) for pair in pairs], axis=0)
    matrix = counts.reshape(classes, classes)
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    return [
        (truth, predicted, float(matrix[truth, predicted]), float(shares[truth, predicted]))
        for truth in range(classes)
        for predicted in range(classes)
    ]
