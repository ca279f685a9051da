"""What the chosen cells' runs said of the test images: reliability and confusion."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from runlab.analysis.statistics import mean_interval

BINS = 15
ROUNDING = 1e-5  # of a confidence in single precision
MOST_CLASSES = 2**15
"""A matrix of more would not fit into memory."""

RELIABILITY = ["arm", "learning_rate", "n", "bin_low", "bin_high", "images", "confidence"]
RELIABILITY += ["accuracy", "accuracy_low", "accuracy_high"]
CONFUSION = ["arm", "learning_rate", "n", "truth", "predicted", "images", "share"]


@dataclass(frozen=True)
class Predictions:
    """Of the test images, in the data's order [images]: `confidence` is that in `predicted`."""

    label: NDArray[np.unsignedinteger]
    predicted: NDArray[np.unsignedinteger]
    confidence: NDArray[np.float32]

    @property
    def correct(self) -> NDArray[np.bool_]:
        return self.label == self.predicted


def read_predictions(sweep: Path, runs: Iterable[str]) -> tuple[dict[str, Predictions], list[str]]:
    """By run; and a sentence for each file that is there but cannot be used."""
    predictions: dict[str, Predictions] = {}
    problems: list[str] = []
    for run in runs:
        try:
            predictions[run] = _read(sweep / run / "predictions.npz")
        except FileNotFoundError:
            continue
        except Exception as error:  # whatever readers of zip, zlib and NumPy's files raise
            problems.append(f"{run}: its predictions.npz can't be used: {error}")
    return predictions, problems


def _read(path: Path) -> Predictions:
    with path.open("rb") as file, np.load(file) as arrays:
        label, predicted, confidence = (arrays[name] for name in Predictions.__annotations__)
    alike = label.shape == predicted.shape == confidence.shape == (len(label),)
    kinds = label.dtype.kind + predicted.dtype.kind + confidence.dtype.kind
    if not alike or len(label) == 0 or kinds != "uuf":
        raise ValueError("expected label, predicted and confidence of the same images")
    if (confidence < 0).any() or (confidence > 1 + ROUNDING).any():
        raise ValueError("expected a confidence from 0 to 1")
    if max(int(label.max()), int(predicted.max())) >= MOST_CLASSES:
        raise ValueError(f"expected classes from 0 to {MOST_CLASSES - 1:,}")
    return Predictions(label, predicted, confidence)


def summarize_reliability(
    runs: pd.DataFrame, predictions: Mapping[str, Predictions]
) -> pd.DataFrame:
    """One row an arm and bin of confidence that holds images: 15 equal ones, as for the ECE.

    `images` are those of all runs, `confidence` their mean, `accuracy` the mean over the runs that
    have images in the bin, with Student's 95% interval over them. Fractions.
    """
    rows = [
        (arm, learning_rate, len(group), *row)
        for (arm, learning_rate), group in _cells(runs, predictions)
        for row in _bins([predictions[run] for run in group["run"]])
    ]
    return pd.DataFrame(rows, columns=RELIABILITY)


def summarize_confusion(runs: pd.DataFrame, predictions: Mapping[str, Predictions]) -> pd.DataFrame:
    """One row an arm, true class and predicted one: `images` in the mean over runs, and `share`."""
    rows = [
        (arm, learning_rate, len(group), *row)
        for (arm, learning_rate), group in _cells(runs, predictions)
        for row in _counts([predictions[run] for run in group["run"]])
    ]
    return pd.DataFrame(rows, columns=CONFUSION)


def _cells(
    runs: pd.DataFrame, predictions: Mapping[str, Predictions]
) -> list[tuple[tuple[str, float], pd.DataFrame]]:
    known = runs[runs["run"].isin(predictions)]
    return list(known.groupby(["arm", "learning_rate"], sort=False))  # type: ignore[arg-type]


def _bins(runs: list[Predictions]) -> list[tuple[float, ...]]:
    totals = [_totals(run) for run in runs]
    images, correct, confidence = (np.array(each) for each in zip(*totals, strict=True))
    return [  # all three [runs, bins]
        _bin(index, images[:, index], correct[:, index], confidence[:, index])
        for index in range(BINS)
        if images[:, index].any()
    ]


def _totals(run: Predictions) -> tuple[NDArray, NDArray, NDArray]:
    """How many images each bin holds, how many of them are right, the sum of their confidences."""
    confidence = np.nan_to_num(run.confidence.astype(float))
    bins = np.clip(np.ceil(confidence * BINS) - 1, 0, BINS - 1).astype(int)
    weights = (None, run.correct, confidence)
    images, correct, total = (np.bincount(bins, each, minlength=BINS) for each in weights)
    return images, correct, total


def _bin(
    index: int, images: NDArray[np.int64], correct: NDArray, confidence: NDArray
) -> tuple[float, ...]:
    """`images`, `correct` and `confidence` of each run in this bin [runs]."""
    there = images > 0
    accuracy = correct[there] / images[there]
    mean = confidence.sum() / images.sum()
    bounds = (index / BINS, (index + 1) / BINS)
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
