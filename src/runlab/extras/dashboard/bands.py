"""Each arm's learning curves as a mean over seeds and its band: what TensorBoard draws of them."""

from collections.abc import Iterator
from typing import NamedTuple

from runlab.analysis import Comparison
from runlab.analysis.figures.learning_curves import has_values, summarize_curve
from runlab.text import percent_encoded

METRICS = {
    "val/accuracy": "Validation accuracy, %",
    "val/nll": "Validation NLL",
    "train/output_gradient_norm": "Gradient norm at the outputs, training",
    "val/output_gradient_norm_wrong": "Gradient norm at the outputs, mistakes",
}
"""By column: what has one unit for all arms, and what says why they differ."""

ENDS = {"mean": "mean", "lower": "low", "upper": "high"}
"""Of a band: the last part of a tag, and the comparison's column."""


class Point(NamedTuple):
    tag: str
    value: float
    step: int


def metrics(comparison: Comparison) -> dict[str, str]:
    """Those that the runs kept: titles by column."""
    return {key: title for key, title in METRICS.items() if has_values(comparison.history, key)}


def bands(comparison: Comparison, arm: str) -> Iterator[Point]:
    """All of an arm's points, at each of its learning rates and at the chosen one.

    The steps are optimizer steps, as in the runs' own curves: an integer also in the middle of an
    epoch. A mean is over the runs that are still there.
    """
    history, curves = comparison.history, comparison.curves
    own = history[history["arm"] == arm]
    rates = sorted(set(own["learning_rate"]))
    places = {rate_name(rate): own[own["learning_rate"] == rate] for rate in rates}
    places[chosen_name(comparison)] = curves[curves["arm"] == arm]
    for column in metrics(comparison):
        for place, runs in places.items():
            table = summarize_curve(runs, column)
            steps = runs.groupby(runs["epoch"].round(6))["step"].max()[table.index]
            for tag, end in zip(tags(column, place), ENDS.values(), strict=True):
                for value, step in zip(table[end], steps, strict=True):
                    yield Point(tag, float(value), int(step))


def tags(column: str, place: str) -> tuple[str, ...]:
    """Of the mean, the lower and the upper end: `val_accuracy/lr=0.1/mean`."""
    return tuple(f"{column.replace('/', '_')}/{place}/{end}" for end in ENDS)


def chosen_name(comparison: Comparison) -> str:
    """`chosen in first`: beside another sweep, a chart draws what has its tags there too."""
    return f"chosen in {percent_encoded(comparison.sweep.name, keep=' ')}"


def rate_name(rate: float) -> str:
    """`lr=0.1`, with as many digits as tell it from any other."""
    short = f"{rate:g}"
    return f"lr={short if float(short) == rate else repr(rate)}"
