"""Cells: all seeds of one arm at one learning rate, and the learning rate chosen for each arm."""

import pandas as pd

from runlab.analysis.arms import ordered, settings_of
from runlab.analysis.measure import Measure
from runlab.analysis.runs import counted

QUALITIES = ("nll", "brier", "ece")
"""Besides accuracy, what has a unit that no loss changes. A loss itself never ranks arms."""


def summarize_cells(runs: pd.DataFrame, measure: Measure) -> pd.DataFrame:
    """One row a cell, in the measure's unit; `chosen` marks one learning rate per arm.

    Diverged runs count with what their final weights reach; where one has no value, the cell's
    mean is NaN.
    """
    outcomes = counted(runs)
    order = {arm: place for place, arm in enumerate(ordered(outcomes["arm"]))}
    rows = [
        {"arm": arm, "learning_rate": rate} | settings_of(group[:1])[0] | _cell(group, measure)
        for (arm, rate), group in sorted(
            outcomes.groupby(["arm", "learning_rate"]),
            key=lambda each: (order[str(each[0][0])], each[0][1]),
        )
    ]
    cells = pd.DataFrame(rows)
    cells["chosen"] = cells.index.isin(_chosen(cells, measure))
    return cells


def values(runs: pd.DataFrame, metric: str, scale: float = 1.0) -> pd.Series:
    """A metric of each run as float, multiplied by `scale`; NaN where it is missing."""
    if metric not in runs:
        return pd.Series(float("nan"), index=runs.index)
    return pd.to_numeric(runs[metric], errors="coerce").astype(float) * scale


def of_chosen(table: pd.DataFrame, cells: pd.DataFrame) -> pd.DataFrame:
    """The rows of a table that belong to a chosen cell, arm after arm."""
    chosen = cells.loc[cells["chosen"], ["arm", "learning_rate"]]
    return chosen.merge(table, on=["arm", "learning_rate"])


def _cell(runs: pd.DataFrame, measure: Measure) -> dict[str, float]:
    cell: dict[str, float] = {
        "n": len(runs),
        "diverged": int((runs["status"] == "diverged").sum()),
    }
    for split in ("val", "test"):
        reached = values(runs, f"{split}/{measure.name}", measure.scale)
        cell[f"{split}_mean"] = float(reached.mean(skipna=False))
        cell[f"{split}_sd"] = float(reached.std(skipna=False))
        cell[f"{split}_lowest"] = float(reached.min(skipna=False))
        cell[f"{split}_highest"] = float(reached.max(skipna=False))
    for quality in QUALITIES:
        cell[f"test_{quality}"] = float(values(runs, f"test/{quality}").mean(skipna=False))
    together = values(runs, "timing/stack").fillna(1)  # what they took, they took together
    cell["seconds"] = float((values(runs, "timing/seconds") / together).mean())
    cell["images_per_second"] = float(values(runs, "timing/images_per_second").mean())
    return cell


def _chosen(cells: pd.DataFrame, measure: Measure) -> list[int]:
    """Per arm the best mean on validation; of equal ones the smaller learning rate.

    Among the cells with at least half as many runs as the arm's fullest: in a partial sweep one
    lucky seed does not choose.
    """
    sign = -1 if measure.higher_is_better else 1
    full = cells["n"] >= cells.groupby("arm")["n"].transform("max") / 2
    ranked = (
        cells[full]
        .dropna(subset="val_mean")
        .assign(
            rank=lambda table: sign * table["val_mean"].round(9)  # equal up to the order of a sum
        )
    )
    ranked = ranked.sort_values(["rank", "learning_rate"])
    return ranked.drop_duplicates("arm").index.tolist()
