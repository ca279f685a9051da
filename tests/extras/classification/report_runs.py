"""Runs that kept what they said of their test images, for the sections of a comparison."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tests.analysis.synthetic import Accuracy, write_complete_run

SECTIONS = [
    "runlab.extras.classification.report.Calibration",
    "runlab.extras.classification.report.Gradients",
]


def keep_predictions(
    folder: Path, correct: Sequence[bool] | np.ndarray, confidence: float | np.ndarray = 0.9
) -> None:
    """Image i is of class i mod 10; a wrong one is taken for the next class."""
    label = (np.arange(len(correct)) % 10).astype(np.uint8)
    predicted = np.where(correct, label, (label + 1) % 10).astype(np.uint8)
    kept = np.broadcast_to(np.asarray(confidence, dtype=np.float32), label.shape)
    np.savez(folder / "predictions.npz", label=label, predicted=predicted, confidence=kept)


def write_predicting_run(
    sweep: Path, loss: str, learning_rate: float, seed: int, accuracy: Accuracy, **rest: Any
) -> Path:
    """A run with all that real ones leave for a comparison: 10 epochs, 10,000 test images."""
    comparison = {"sections": SECTIONS}
    folder = write_complete_run(
        sweep, loss, learning_rate, seed, accuracy, comparison=comparison, **rest
    )
    rng = np.random.default_rng([seed, int(1e6 * learning_rate), len(loss)])
    test = accuracy[1] if isinstance(accuracy, tuple) else accuracy
    confidence = np.sqrt(rng.uniform(0.1, 1, 10_000))
    keep_predictions(folder, rng.uniform(0, 1, 10_000) < test, confidence)
    return folder
