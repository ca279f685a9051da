"""Cells: all seeds of one arm at one learning rate, and the learning rate chosen for each arm."""

import pandas as pd

from losslab.comparison.arms import ordered
from losslab.comparison.runs import counted

QUALITIES = ("nll", "brier", "ece")
"""Besides accuracy, what has a unit that no loss changes. A loss itself never ranks arms."""


def summarize_cells(runs: pd.DataFrame) -> pd.DataFrame:
    """One row a cell, accuracies in percent; `chosen` marks one learning rate per arm.

    Diverged runs count with the accuracy of their final weights; where one has none, the cell's
    mean is NaN.
    """
    outcomes = counted(runs)
    rows = [
        {"arm": arm, "learning_rate": rate} | _cell(outcomes[at])
        for arm in ordered(outcomes["arm"])
        for rate in sorted(outcomes.loc[outcomes["arm"] == arm, "learning_rate"].unique())
        for at in [(outcomes["arm"] == arm) & (outcomes["learning_rate"] == rate)]
    ]
    cells = pd.DataFrame(rows)
    cells["chosen"] = False
    for index in _chosen(cells):
        cells.loc[index, "chosen"] = True
    return cells


def values(runs: pd.DataFrame, metric: str) -> pd.Series:
    """A metric of each run as float, NaN where it is missing; accuracies in percent."""
    if metric not in runs:
        return pd.Series(float("nan"), index=runs.index)
    scale = 100 if metric.endswith("/accuracy") else 1
    return pd.to_numeric(runs[metric], errors="coerce").astype(float) * scale


def _cell(runs: pd.DataFrame) -> dict[str, float]:
    cell: dict[str, float] = {
        "n": len(runs),
        "diverged": int((runs["status"] == "diverged").sum()),
    }
    for split in ("val", "test"):
        accuracies = values(runs, f"{split}/accuracy")
        cell[f"{split}_accuracy_percent"] = float(accuracies.mean(skipna=False))
        cell[f"{split}_accuracy_sd"] = float(accuracies.std(skipna=False))
        cell[f"{split}_accuracy_lowest"] = float(accuracies.min(skipna=False))
        cell[f"{split}_accuracy_highest"] = float(accuracies.max(skipna=False))
    for quality in QUALITIES:
        cell[f"test_{quality}"] = float(values(runs, f"test/{quality}").mean(skipna=False))
    return cell


def _chosen(cells: pd.DataFrame) -> list[int]:
    """Per arm the best mean validation accuracy; of equal ones the smaller learning rate."""
    ranked = cells.dropna(subset="val_accuracy_percent").assign(
        best=lambda table: -table["val_accuracy_percent"].round(9)  # equal up to the order of a sum
    )
    ranked = ranked.sort_values(["best", "learning_rate"])
    return ranked.drop_duplicates("arm").index.tolist()
