"""The conclusion for each arm at the learning rate that validation chose for it."""

import math
from typing import Any

import numpy as np
import pandas as pd

from runlab.analysis.arms import SETTING
from runlab.analysis.cells import QUALITIES, values
from runlab.analysis.grid import good_range
from runlab.analysis.measure import Measure
from runlab.analysis.runs import counted
from runlab.analysis.statistics import binomial_half_width, mean_interval

COPIED = ("val_mean", "val_sd", "test_mean", "test_sd", "seconds", "images_per_second")
COLUMNS = ["arm", "learning_rate", "n", "diverged", *COPIED, "test_low", "test_high"]
COLUMNS += [f"test_{quality}{end}" for quality in QUALITIES for end in ("", "_low", "_high")]
COLUMNS += ["test_images_half_width", "mapping", "good_range", "good_decades"]
COLUMNS += ["diverged_anywhere", "runs"]


def summarize_arms(runs: pd.DataFrame, cells: pd.DataFrame, measure: Measure) -> pd.DataFrame:
    """One row an arm that has a chosen cell, in the measure's unit.

    `*_low` and `*_high` are Student's 95% intervals over seeds. `test_images_half_width` is the
    binomial uncertainty that the finite test set adds to an accuracy, NaN where a run lacks
    `test/images`. `mapping` says how the loss makes probabilities of outputs.
    """
    of_cell = dict(list(counted(runs).groupby(["arm", "learning_rate"])))
    of_arm = dict(list(cells.groupby("arm")))
    chosen = cells[cells["chosen"]].to_dict("records")
    rows = [
        _arm(cell, of_cell[cell["arm"], cell["learning_rate"]], of_arm[cell["arm"]], measure)
        for cell in chosen
    ]
    return pd.DataFrame(rows, columns=None if rows else COLUMNS)


def _arm(
    cell: dict[Any, Any], runs: pd.DataFrame, own: pd.DataFrame, measure: Measure
) -> dict[str, Any]:
    test = values(runs, f"test/{measure.name}", measure.scale).to_numpy()
    low, high = mean_interval(test)
    good = good_range(own.set_index("learning_rate")["val_mean"], cell["learning_rate"])
    tolerable = measure.name == "accuracy"  # the range's width is in points
    ranged = tolerable and len(own) > 1
    settings = {key: value for key, value in cell.items() if key.startswith(SETTING)}
    return {
        **{key: cell[key] for key in ("arm", "learning_rate", "n", "diverged", *COPIED)},
        **settings,
        "test_low": low,
        "test_high": high,
        "test_images_half_width": _test_set_half_width(test, runs) if tolerable else math.nan,
        **{key: value for quality in QUALITIES for key, value in _quality(runs, quality).items()},
        "mapping": "; ".join(sorted(set(runs["mapping"]) - {""})),
        "good_range": good.text if ranged else "",
        "good_decades": good.decades if ranged else math.nan,
        "diverged_anywhere": int(own["diverged"].sum()),
        "runs": int(own["n"].sum()),
    }


def _quality(runs: pd.DataFrame, quality: str) -> dict[str, float]:
    reached = values(runs, f"test/{quality}").to_numpy()
    low, high = mean_interval(reached)
    mean = float(np.mean(reached))
    return {f"test_{quality}": mean, f"test_{quality}_low": low, f"test_{quality}_high": high}


def _test_set_half_width(percent: np.ndarray, runs: pd.DataFrame) -> float:
    images = values(runs, "test/images").to_numpy()
    if np.isnan(images).any() or np.isnan(percent).any():
        return math.nan
    return 100 * binomial_half_width(float(percent.mean()) / 100, float(images.min()))
