"""One arm's metric over epochs: the mean over its runs, and how far they spread."""

import math

import pandas as pd
from matplotlib.axes import Axes

from runlab.analysis.palette import Style


def is_known(curves: pd.DataFrame, column: str) -> bool:
    return column in curves and bool(curves[column].notna().any())


def along_epochs(runs: pd.DataFrame, column: str) -> pd.DataFrame:
    """Indexed by epoch: `mean`, `low` and `high` (±1 sd within the range of the runs), `count`.

    Over the runs that are still there; a non-finite value is none.
    """
    finite = runs[column].where(runs[column].abs() < math.inf)
    table = finite.groupby(runs["epoch"].round(6)).agg(["mean", "std", "min", "max", "count"])
    sd = table["std"].fillna(0)
    low = (table["mean"] - sd).clip(lower=table["min"])
    high = (table["mean"] + sd).clip(upper=table["max"])
    return table[["mean", "count"]].assign(low=low, high=high)[table["count"] > 0]


def draw_curve(axes: Axes, runs: pd.DataFrame, column: str, style: Style) -> pd.DataFrame:
    """Draws and returns the curve: faint from where a run is missing, × where a run ended early."""
    table = along_epochs(runs, column)
    axes.fill_between(
        table.index, table["low"], table["high"], color=style.color, alpha=0.18, linewidth=0
    )
    everyone = table["count"] == runs["run"].nunique()
    # the faint line begins at the last point of the full one
    rest = table[~everyone | ~everyone.shift(-1, fill_value=True)]
    marker = style.marker if len(table) <= 20 else ""
    axes.plot(rest.index, rest["mean"], color=style.color, linestyle=style.dashes, marker=marker,
              linewidth=0.9, ms=2, alpha=0.6)  # fmt: skip
    whole = table["mean"].where(everyone)
    axes.plot(whole.index, whole, color=style.color, linestyle=style.dashes, marker=marker,
              linewidth=1.6, ms=3.5, label=runs["arm"].iloc[0])  # fmt: skip
    ended = early_ends(runs.dropna(subset=column))
    axes.plot(ended["epoch"], ended[column], linestyle="", marker="x", ms=6, mew=1.6,
              color=style.color)  # fmt: skip
    return table


def early_ends(runs: pd.DataFrame) -> pd.DataFrame:
    """The last row of each run that ended before the others of its arm."""
    last = runs.sort_values("epoch").drop_duplicates("run", keep="last")
    return last[last["epoch"] < last["epoch"].max() - 1e-6]
