"""Cells: all seeds of one arm at one learning rate; and each arm at its chosen learning rate.

The learning rate is the value of whatever key `comparison.rate` names.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from runlab.analysis.arms import SETTING, settings_of
from runlab.analysis.learning_rates import NO_RATE, good_range
from runlab.analysis.runs import MODULE, ended_runs
from runlab.analysis.statistics import binomial_half_width, count_far_off, mean_interval
from runlab.measure import Measure
from runlab.runs.record import UNSOUND

COPIED = ("val_mean", "val_sd", "test_mean", "test_sd", "seconds", "samples_per_second")
"""Columns that arms have from their chosen cell."""

SPEED = ["arm", "learning_rate", "threshold", "n", "reached", "median", "lowest", "highest"]


def metric_values(runs: pd.DataFrame, metric: str, scale: float = 1.0) -> pd.Series:
    """A metric of each run as float, multiplied by `scale`; NaN where it is missing."""
    if metric not in runs:
        return pd.Series(float("nan"), index=runs.index)
    return pd.to_numeric(runs[metric], errors="coerce").astype(float) * scale


def has_sound_run(table: pd.DataFrame) -> pd.Series:
    """Of each cell or arm, whether a run of it neither diverged nor collapsed."""
    return table[[*UNSOUND]].sum(axis=1) < table["n"]


def arms_without_validation(runs: pd.DataFrame, measure: Measure) -> set[str]:
    """Those of which no sound run has a value on validation."""
    sound = runs[runs["status"] == "finished"]
    known = metric_values(sound, f"val/{measure.name}").notna().groupby(sound["arm"]).any()
    return set(known.index[~known])


def select_chosen(table: pd.DataFrame, cells: pd.DataFrame) -> pd.DataFrame:
    """The rows of a table that belong to a chosen cell, arm after arm."""
    chosen = cells.loc[cells["chosen"], ["arm", "learning_rate"]]
    return chosen.merge(table, on=["arm", "learning_rate"])


# Cells


def summarize_cells(
    runs: pd.DataFrame, measure: Measure, others: Sequence[Measure], arms: Sequence[str]
) -> pd.DataFrame:
    """One row a cell, in the measure's unit; `chosen` marks one learning rate per arm.

    Runs that diverged or collapsed count as the others do, with what their best weights reach;
    where one has no value, the cell's mean is NaN. `far_off` are finished runs that ended far off
    the other finished ones.

    Args:
        others: measures of which the mean on the test set stands beside it, as `test_<name>`.
        arms: in the order of the rows.
    """
    cells = ended_runs(runs).groupby(["arm", "learning_rate"])
    places = {arm: place for place, arm in enumerate(arms)}
    rows = [
        {"arm": arm, "learning_rate": learning_rate}
        | settings_of(group[:1])[0]
        | _cell(group, measure, others)
        for (arm, learning_rate), group in sorted(
            cells, key=lambda each: (places[str(each[0][0])], each[0][1])
        )
    ]
    table = pd.DataFrame(rows)
    table["chosen"] = table.index.isin(_chosen(table, measure))
    return table


def _cell(runs: pd.DataFrame, measure: Measure, others: Sequence[Measure]) -> dict[str, float]:
    cell: dict[str, float] = {
        "n": len(runs),
        **{status: int((runs["status"] == status).sum()) for status in UNSOUND},
    }
    for split in ("val", "test"):
        reached = metric_values(runs, f"{split}/{measure.name}", measure.scale)
        cell[f"{split}_mean"] = float(reached.mean(skipna=False))
        cell[f"{split}_sd"] = float(reached.std(skipna=False))
        cell[f"{split}_lowest"] = float(reached.min(skipna=False))
        cell[f"{split}_highest"] = float(reached.max(skipna=False))
    for other in others:
        reached = metric_values(runs, f"test/{other.name}", other.scale)
        cell[f"test_{other.name}"] = float(reached.mean(skipna=False))
    sound = metric_values(runs[~runs["status"].isin(UNSOUND)], f"val/{measure.name}", measure.scale)
    cell["far_off"] = count_far_off(sound.to_numpy(), measure.tolerance or 0.0)
    together = metric_values(runs, "timing/stack").fillna(1)  # what they took, they took together
    cell["seconds"] = float((metric_values(runs, "timing/seconds") / together).mean())
    cell["samples_per_second"] = float(metric_values(runs, "timing/samples_per_second").mean())
    return cell


def _chosen(cells: pd.DataFrame, measure: Measure) -> list[int]:
    """The index of each arm's chosen cell, of those that have one."""
    chosen = []
    for _, own in cells.groupby("arm", sort=False):
        means, runs = (own[name].to_numpy(dtype=float) for name in ("val_mean", "n"))
        if len(own) == 1 and has_sound_run(own).any():
            means = np.zeros(1)  # an only cell needs no mean to be chosen
        place = int(choose_cells(means[None], runs[None], measure.higher_is_better)[0])
        chosen += [own.index[place]] if place >= 0 else []
    return chosen


def choose_cells(means: NDArray, runs: NDArray, higher_is_better: bool) -> NDArray[np.intp]:
    """The place of the best mean on validation in each row; of equal ones the first; -1 if none.

    Among the cells with at least half as many runs as the row's fullest: in a partial sweep one
    lucky seed does not choose.

    Args:
        means, runs: of an arm's cells [rows, cells], by their learning rates; a mean may be NaN.
    """
    eligible = (runs >= runs.max(axis=1, keepdims=True) / 2) & (runs > 0) & ~np.isnan(means)
    sign = -1 if higher_is_better else 1
    ranks = np.where(eligible, sign * means.round(9), np.inf)  # equal up to a sum's order
    return np.where(eligible.any(axis=1), np.argmin(ranks, axis=1), -1)


# Each arm at its chosen learning rate


def summarize_arms(
    runs: pd.DataFrame, cells: pd.DataFrame, measure: Measure, others: Sequence[Measure]
) -> pd.DataFrame:
    """One row an arm that has a chosen cell, in the measure's unit.

    `*_low` and `*_high` are Student's 95% intervals over seeds. `test_samples_half_width` is the
    binomial uncertainty that the finite test set adds to a share of its samples, NaN where a run
    lacks `test/samples`. `module/*` is what the runs' modules say of themselves.
    """
    of_cell = dict(list(ended_runs(runs).groupby(["arm", "learning_rate"])))
    of_arm = dict(list(cells.groupby("arm")))
    rows = [
        {key: cell[key] for key in ("arm", "learning_rate", "n", *UNSOUND, *COPIED)}
        | {key: value for key, value in cell.items() if str(key).startswith(SETTING)}
        | _result(of_cell[cell["arm"], cell["learning_rate"]], measure, others)
        | _width(of_arm[cell["arm"]], cell["learning_rate"], measure)
        for cell in cells[cells["chosen"]].to_dict("records")
    ]
    return pd.DataFrame(rows, columns=None if rows else _arm_columns(others))


def _arm_columns(others: Sequence[Measure]) -> list[str]:
    names = [f"test_{other.name}{end}" for other in others for end in ("", "_low", "_high")]
    return [
        *("arm", "learning_rate", "n", *UNSOUND, *COPIED, "test_low", "test_high"),
        *("test_samples_half_width", *names),
        *("good_range", "good_decades", "diverged_anywhere", "collapsed_anywhere", "runs"),
    ]


def _result(
    runs: pd.DataFrame, measure: Measure, others: Sequence[Measure]
) -> dict[str, float | str]:
    """What the runs of a cell reached on the test set."""
    test = metric_values(runs, f"test/{measure.name}", measure.scale).to_numpy()
    low, high = mean_interval(test)
    result: dict[str, float | str] = {"test_low": low, "test_high": high}
    result["test_samples_half_width"] = _samples_half_width(test, runs, measure)
    for other in others:
        reached = metric_values(runs, f"test/{other.name}", other.scale).to_numpy()
        name, (low, high) = f"test_{other.name}", mean_interval(reached)
        result |= {name: float(np.mean(reached)), f"{name}_low": low, f"{name}_high": high}
    for column in (str(name) for name in runs if str(name).startswith(MODULE)):
        result[column] = "; ".join(sorted(set(runs[column].dropna().astype(str)) - {""}))
    return result


def _samples_half_width(test: np.ndarray, runs: pd.DataFrame, measure: Measure) -> float:
    samples = metric_values(runs, "test/samples").to_numpy()
    if not measure.proportion or np.isnan(samples).any() or np.isnan(test).any():
        return math.nan
    share = float(test.mean()) / measure.scale
    return measure.scale * binomial_half_width(share, float(samples.min()))


def _width(own: pd.DataFrame, chosen: float, measure: Measure) -> dict[str, Any]:
    """How wide an arm's range of good learning rates is, and how many runs ended badly in it."""
    tuned = own[own["learning_rate"] != NO_RATE]
    means = tuned.set_index("learning_rate")["val_mean"]
    good = good_range(means, chosen, measure) if len(tuned) > 1 and chosen != NO_RATE else None
    return {
        "good_range": good.text if good else "",
        "good_decades": good.decades if good else math.nan,
        **{f"{status}_anywhere": int(own[status].sum()) for status in UNSOUND},
        "runs": int(own["n"].sum()),
    }


# How fast each arm learns


def milestone_measure(measure: Measure, measures: Sequence[Measure]) -> Measure | None:
    """Whose milestones are told: the measure's own, or those of the first that has any."""
    return next((each for each in (measure, *measures) if each.milestones), None)


def summarize_speed(curves: pd.DataFrame, measure: Measure | None) -> pd.DataFrame:
    """One row an arm and milestone: epochs over runs; inf where a run never got there (censored).

    `curves` are in the measure's unit, of one learning rate for each arm.
    """
    if measure is None or f"val/{measure.name}" not in curves:
        return pd.DataFrame(columns=SPEED)
    rows = [
        (arm, learning_rate, threshold, *_epochs(runs, measure, threshold))
        for (arm, learning_rate), runs in curves.groupby(["arm", "learning_rate"], sort=False)
        for threshold in measure.milestones
    ]
    return pd.DataFrame(rows, columns=SPEED)


def _epochs(
    runs: pd.DataFrame, measure: Measure, threshold: float
) -> tuple[int, int, float, float, float]:
    values = runs[f"val/{measure.name}"]
    there = values >= threshold if measure.higher_is_better else values <= threshold
    first = runs["epoch"].where(there, np.inf).groupby(runs["run"]).min().to_numpy(dtype=float)
    reached = int(np.isfinite(first).sum())
    return len(first), reached, float(np.median(first)), first.min(), first.max()
