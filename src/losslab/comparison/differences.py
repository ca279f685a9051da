"""Paired differences of test accuracy between arms: the same seed under two losses."""

from collections.abc import Iterator
from itertools import combinations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from losslab.comparison.cells import values
from losslab.comparison.runs import counted
from losslab.comparison.statistics import holm, mean_interval, permutation_p_value

Accuracies = dict[tuple[str, float], dict[int, float]]
"""Test accuracy in percent: by arm and learning rate, then by seed."""

TUNED = [
    "arm",
    "other",
    "learning_rate",
    "other_learning_rate",
    "pairs",
    "difference",
    "low",
    "high",
]
NAIVE = ["arm", "other", "learning_rate", "pairs", "difference", "low", "high"]


def tuned_differences(runs: pd.DataFrame, summary: pd.DataFrame) -> pd.DataFrame:
    """`arm` minus `other` in points of test accuracy, each at its own chosen learning rate.

    Over the seeds that both ran. `low` and `high` are Student's 95% interval, `p` is the paired
    permutation test's, `p_holm` is corrected over all rows.
    """
    accuracies = _accuracies(runs)
    rows = [
        {
            "arm": arm["arm"],
            "other": other["arm"],
            "learning_rate": arm["learning_rate"],
            "other_learning_rate": other["learning_rate"],
        }
        | _difference(differences)
        | {"p": permutation_p_value(differences)}
        for arm, other in _pairs(summary)
        for differences in [_paired(accuracies, arm, other)]
    ]
    table = pd.DataFrame(rows, columns=[*TUNED, "p"])
    table["p_holm"] = holm(table["p"].tolist())
    return table


def naive_differences(runs: pd.DataFrame, cells: pd.DataFrame) -> pd.DataFrame:
    """`arm` minus `other` at one learning rate for both, which favours the arm that it suits."""
    accuracies = _accuracies(runs)
    rows = [
        {"arm": cell["arm"], "other": other["arm"], "learning_rate": rate}
        | _difference(_paired(accuracies, cell, other))
        for rate, here in cells.groupby("learning_rate")
        for cell, other in _pairs(here)
    ]
    table = pd.DataFrame(rows, columns=NAIVE)
    return table.sort_values(["arm", "other"], kind="stable", ignore_index=True)


def _pairs(table: pd.DataFrame) -> Iterator[tuple[pd.Series, pd.Series]]:
    return combinations([row for _, row in table.iterrows()], 2)


def _accuracies(runs: pd.DataFrame) -> Accuracies:
    outcomes = counted(runs)
    outcomes = outcomes.assign(percent=values(outcomes, "test/accuracy"))
    return {
        (cell["arm"].iloc[0], cell["learning_rate"].iloc[0]): dict(
            zip(cell["seed"].tolist(), cell["percent"].tolist(), strict=True)
        )
        for _, cell in outcomes.groupby(["arm", "learning_rate"])
    }


def _paired(accuracies: Accuracies, cell: pd.Series, other: pd.Series) -> NDArray[np.float64]:
    mine = accuracies[cell["arm"], cell["learning_rate"]]
    theirs = accuracies[other["arm"], other["learning_rate"]]
    common = sorted(mine.keys() & theirs.keys())
    return np.array([mine[seed] - theirs[seed] for seed in common], dtype=float)


def _difference(differences: NDArray[np.float64]) -> dict[str, float]:
    low, high = mean_interval(differences)
    mean = float(np.mean(differences)) if len(differences) else float("nan")
    return {"pairs": len(differences), "difference": mean, "low": low, "high": high}
