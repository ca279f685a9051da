"""How many epochs each arm takes to an accuracy on validation."""

import numpy as np
import pandas as pd

THRESHOLDS = (90.0, 95.0, 97.0)
"""Percent of validation accuracy."""
COLUMNS = ["arm", "learning_rate", "threshold", "n", "reached", "median", "lowest", "highest"]


def summarize_speed(curves: pd.DataFrame) -> pd.DataFrame:
    """One row an arm and threshold: epochs over runs; inf where a run never reached it (censored).

    `curves` has accuracies in percent, of one learning rate for each arm.
    """
    if "val/accuracy" not in curves:
        return pd.DataFrame(columns=COLUMNS)
    rows = [
        (arm, rate, threshold, *_epochs(runs, threshold))
        for (arm, rate), runs in curves.groupby(["arm", "learning_rate"], sort=False)
        for threshold in THRESHOLDS
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


def _epochs(runs: pd.DataFrame, threshold: float) -> tuple[int, int, float, float, float]:
    there = runs["epoch"].where(runs["val/accuracy"] >= threshold, np.inf)
    first = there.groupby(runs["run"]).min().to_numpy(dtype=float)
    reached = int(np.isfinite(first).sum())
    return len(first), reached, float(np.median(first)), first.min(), first.max()
