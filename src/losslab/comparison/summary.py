"""The conclusion for each arm at the learning rate that validation chose for it."""

import math

import numpy as np
import pandas as pd

from losslab.comparison.cells import QUALITIES, values
from losslab.comparison.grid import good_range
from losslab.comparison.runs import counted
from losslab.comparison.statistics import binomial_half_width, mean_interval


def summarize_arms(runs: pd.DataFrame, cells: pd.DataFrame) -> pd.DataFrame:
    """One row an arm that has a chosen cell, accuracies in percent.

    `test_low` and `test_high` are Student's 95% interval over seeds. `test_images_half_width` is
    the binomial uncertainty of the finite test set, NaN where a run lacks `test/images`.
    """
    outcomes = counted(runs)
    rows = [
        _arm(cell, outcomes[at], cells[cells["arm"] == cell["arm"]])
        for _, cell in cells[cells["chosen"]].iterrows()
        for same_arm in [outcomes["arm"] == cell["arm"]]
        for at in [same_arm & (outcomes["learning_rate"] == cell["learning_rate"])]
    ]
    return pd.DataFrame(rows)


def _arm(cell: pd.Series, runs: pd.DataFrame, own: pd.DataFrame) -> dict[str, object]:
    low, high = mean_interval(values(runs, "test/accuracy").to_numpy())
    accuracies = own.set_index("learning_rate")["val_accuracy_percent"]
    good = good_range(accuracies, cell["learning_rate"])
    copied = [
        "val_accuracy_percent",
        "val_accuracy_sd",
        "test_accuracy_percent",
        "test_accuracy_sd",
    ]
    copied += [f"test_{quality}" for quality in QUALITIES]
    return {
        "arm": cell["arm"],
        "learning_rate": cell["learning_rate"],
        "n": cell["n"],
        "diverged": cell["diverged"],
        **{column: cell[column] for column in copied},
        "test_low": low,
        "test_high": high,
        "test_images_half_width": _test_set_half_width(cell["test_accuracy_percent"], runs),
        "good_range": good.text,
        "good_decades": good.decades,
        "diverged_anywhere": int(own["diverged"].sum()),
        "runs": int(own["n"].sum()),
    }


def _test_set_half_width(accuracy_percent: float, runs: pd.DataFrame) -> float:
    images = values(runs, "test/images").to_numpy()
    if np.isnan(images).any() or math.isnan(accuracy_percent):
        return math.nan
    return 100 * binomial_half_width(accuracy_percent / 100, float(images.min()))
