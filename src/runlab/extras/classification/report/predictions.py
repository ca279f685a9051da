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


KEPT = ("label", "predicted", "confidence")
"""Arrays of a file, of the test images in order: the confidence is that in `predicted`."""


@dataclass(frozen=True)
class Predictions:
    """What is told of one run's predictions, in a sixth of their room.

    Attributes:
        label: [images], one array for all runs that have the same.
        correct: [images]
        images, right, confidence: of each bin of confidence [bins]: how many images it holds, how
            many of them are right, the sum of their confidences.
        pairs, counts: which pairs of true and predicted class there are, as
            `MOST_CLASSES * truth + predicted`; and of how many images.
    """

    label: NDArray[np.unsignedinteger]
    correct: NDArray[np.bool_]
    images: NDArray[np.int64]
    right: NDArray[np.float64]
    confidence: NDArray[np.float64]
    pairs: NDArray[np.int64]
    counts: NDArray[np.int64]


def read_predictions(sweep: Path, runs: Iterable[str]) -> tuple[dict[str, Predictions], list[str]]:
    """By run; and a sentence for each file that is there but cannot be used."""
    predictions: dict[str, Predictions] = {}
    problems: list[str] = []
    labels: dict[bytes, NDArray[np.unsignedinteger]] = {}
    for run in runs:
        try:
            label, predicted, confidence = _read(sweep / run / "predictions.npz")
        except FileNotFoundError:
            continue
        except Exception as error:  # whatever readers of zip, zlib and NumPy's files raise
            problems.append(f"{run}: its predictions.npz can't be used: {error}")
            continue
        label = labels.setdefault(label.dtype.str.encode() + label.tobytes(), label)
        predictions[run] = _condensed(label, predicted, confidence)
    return predictions, problems


def _read(path: Path) -> tuple[NDArray, NDArray, NDArray]:
    with path.open("rb") as file, np.load(file) as arrays:
        label, predicted, confidence = (arrays[name] for name in KEPT)
    alike = label.shape == predicted.shape == confidence.shape == (len(label),)
    kinds = label.dtype.kind + predicted.dtype.kind + confidence.dtype.kind
    if not alike or len(label) == 0 or kinds != "uuf":
        raise ValueError("expected label, predicted and confidence of the same images")
    if (confidence < 0).any() or (confidence > 1 + ROUNDING).any():
        raise ValueError("expected a confidence from 0 to 1")
    if max(int(label.max()), int(predicted.max())) >= MOST_CLASSES:
        raise ValueError(f"expected classes from 0 to {MOST_CLASSES - 1:,}")
    return label, predicted, confidence


def _condensed(label: NDArray, predicted: NDArray, confidence: NDArray) -> Predictions:
    correct = label == predicted
    confidence = np.nan_to_num(confidence.astype(float))
    bins = np.clip(np.ceil(confidence * BINS) - 1, 0, BINS - 1).astype(int)
    images = np.bincount(bins, minlength=BINS)
    right, total = (np.bincount(bins, each, BINS).astype(float) for each in (correct, confidence))
    pairs, counts = np.unique(label.astype(int) * MOST_CLASSES + predicted, return_counts=True)
    return Predictions(label, correct, images, right, total, pairs, counts)


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
    totals = [(run.images, run.right, run.confidence) for run in runs]
    images, correct, confidence = (np.array(each) for each in zip(*totals, strict=True))
    return [  # all three [runs, bins]
        _bin(index, images[:, index], correct[:, index], confidence[:, index])
        for index in range(BINS)
        if images[:, index].any()
    ]


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
    classes = 1 + max(int(np.max(np.divmod(run.pairs, MOST_CLASSES))) for run in runs)
    counts = np.zeros((classes, classes), dtype=np.int64)
    for run in runs:
        counts[np.divmod(run.pairs, MOST_CLASSES)] += run.counts  # each pair once
    matrix = counts / len(runs)
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    return [
        (truth, predicted, float(matrix[truth, predicted]), float(shares[truth, predicted]))
        for truth in range(classes)
        for predicted in range(classes)
    ]
