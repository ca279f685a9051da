"""What runs left beside their records: learning curves, and what they said of each test image."""

import csv
import math
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray


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
    kept: dict[str, Predictions] = {}
    problems: list[str] = []
    for run in runs:
        try:
            kept[run] = _predictions(sweep / run / "predictions.npz")
        except FileNotFoundError:
            continue
        except (OSError, ValueError, KeyError, EOFError, TypeError, zipfile.BadZipFile) as error:
            problems.append(f"{run}: its predictions.npz can't be used: {error}")
    return kept, problems


def _predictions(path: Path) -> Predictions:
    with np.load(path) as file:
        label, predicted, confidence = file["label"], file["predicted"], file["confidence"]
    alike = label.shape == predicted.shape == confidence.shape == (len(label),)
    kinds = label.dtype.kind + predicted.dtype.kind + confidence.dtype.kind
    if not alike or len(label) == 0 or kinds != "uuf":
        raise ValueError("expected label, predicted and confidence of the same images")
    return Predictions(label, predicted, confidence)


def read_curves(sweep: Path, runs: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """One row a validation of each run: run, arm, learning_rate, seed, epoch, step, its metrics.

    As recorded, so accuracies are fractions. Also a sentence for each file that can't be used.
    """
    columns = ["run", "arm", "learning_rate", "seed"]
    rows: list[dict[str, object]] = []
    problems: list[str] = []
    for key in runs[columns].itertuples(index=False):
        try:
            known = dict(zip(columns, key, strict=True))
            rows += [known | row for row in _curve(sweep / str(key[0]) / "curves.csv")]
        except FileNotFoundError:
            continue
        except (OSError, ValueError, csv.Error) as error:
            problems.append(f"{key[0]}: its curves.csv can't be used: {error}")
    if not rows:
        nothing = [("", "", math.nan, 0, math.nan, math.nan)]
        return pd.DataFrame(nothing, columns=[*columns, "epoch", "step"])[:0], problems
    return pd.DataFrame(rows), problems


def _curve(path: Path) -> list[dict[str, float]]:
    with path.open(newline="") as file:
        reader = csv.reader(file)
        names = next(reader, [])
        if not {"epoch", "step"} <= set(names):
            raise ValueError("expected columns epoch and step, got none such")
        return [
            {name: float(value or "nan") for name, value in zip(names, row, strict=True)}
            for row in reader
        ]
