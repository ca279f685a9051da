"""The figures that answer to a pointer, by Bokeh, and the table of runs: as data for the page."""

import base64
import gzip
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from runlab.analysis.cells import metric_values
from runlab.analysis.comparison import Comparison
from runlab.analysis.figures.learning_curves import (
    has_values,
    measure_beside,
    summarize_curve,
)
from runlab.analysis.figures.scales import ErrorScale, logarithmic_ticks, tick_labels
from runlab.analysis.formatting import interval, marked, number, spread
from runlab.analysis.learning_rates import rate_text
from runlab.analysis.palette import select_styles
from runlab.analysis.runs import ended_runs
from runlab.measure import Measure

MOST_RUNS, MOST_VALUES = 2_000, 40_000
"""Rows of the table, and values of curves, that a page holds: it stays below 2 MB."""

MARKERS = {"o": "circle", "s": "square", "^": "triangle", "v": "inverted_triangle", "D": "diamond",
           "P": "plus", "X": "x", "h": "hex", "*": "star"}  # fmt: skip
DASHES = {"-": "solid", "--": "dashed", ":": "dotted", "-.": "dashdot"}
HEIGHT = 380  # pixels
IDS = ("id", "root_id")
"""Where Bokeh's JSON names a model."""

Transform = Callable[[Any], NDArray[np.float64]]


def library() -> tuple[str, str]:
    """Bokeh's script, and the same compressed, in base64: of the installed package."""
    import bokeh  # as all of it, imported where it is needed: it takes a second

    script = (Path(bokeh.__file__).parent / "server/static/js/bokeh.min.js").read_text(
        encoding="utf-8"
    )
    return script, base64.b64encode(gzip.compress(script.encode(), 9, mtime=0)).decode()


def to_json(comparison: Comparison) -> str:
    """`plots`, by the name of the figure that each stands for, and `runs`, the rows of the table.

    Nothing in it ends the element of the page that holds it.
    """
    content = {"plots": _plots(comparison), "runs": _runs(comparison)}
    return json.dumps(content, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")


def left_out(comparison: Comparison) -> list[str]:
    """What a page of so many runs does not hold, in sentences."""
    runs = len(ended_runs(comparison.runs))
    missing = []
    if runs > MOST_RUNS:
        missing.append(f"The table has the first {MOST_RUNS:,} of {runs:,} runs; runs.csv has all.")
    if len(comparison.history) > MOST_VALUES:
        missing.append(
            f"The curves have {MOST_VALUES:,} of {len(comparison.history):,} points, those of the "
            "first runs; curves.csv has all."
        )
    return missing


def _plots(comparison: Comparison) -> dict[str, Any]:
    from bokeh.embed import json_item

    measure, measures = comparison.measure, comparison.measures
    panels = (measure, *measure_beside(measure, measures))
    made = {
        "sensitivity": [_sensitivity(comparison)],
        "learning_curves": [_learning_curves(comparison, panel) for panel in panels],
        "run": [_run_curve(comparison)],
    }
    items = {
        name: [_numbered(json_item(plot)) for plot in plots if plot is not None]
        for name, plots in made.items()
    }
    return {name: own for name, own in items.items() if own}


def _numbered(item: Any) -> Any:
    """With ids from 1 on, so that the same runs make the same file: Bokeh never starts anew."""
    numbers: dict[str, str] = {}

    def renumber(part: Any, name: str = "") -> Any:
        if isinstance(part, dict):
            return {own: renumber(inner, own) for own, inner in part.items()}
        if isinstance(part, (list, tuple)):
            return [renumber(inner) for inner in part]
        return numbers.setdefault(part, f"p{len(numbers) + 1}") if name in IDS and part else part

    return renumber(item)


def _new_plot(**options: Any) -> Any:
    from bokeh.plotting import figure

    plot: Any = figure(
        height=HEIGHT, sizing_mode="stretch_width", toolbar_location=None, tools="",
        background_fill_color=None, border_fill_color=None, outline_line_color=None, **options,
    )  # fmt: skip
    plot.xgrid.visible = False
    plot.axis.minor_tick_line_color = None
    return plot


def _finish(plot: Any, renderers: list[Any], tooltips: list[tuple[str, str]]) -> Any:
    """With values at the pointer, and a legend above that hides and shows arms."""
    from bokeh.models import HoverTool

    plot.add_tools(HoverTool(tooltips=tooltips, renderers=renderers, mode="vline"))
    if plot.legend:
        plot.add_layout(plot.legend[0], "above")
        plot.legend.click_policy = "hide"
        plot.legend.orientation = "horizontal"
        plot.legend.ncols = "auto"
        plot.legend.location = "center_left"
        plot.legend.background_fill_alpha = 0
        plot.legend.border_line_color = None
    return plot


def _scaled(plot: Any, values: list[float], measure: Measure, split: str) -> Transform:
    """Labels the y axis as in the still figure, and returns where on it a value lies."""
    known = [value for value in values if np.isfinite(value)]
    plot.yaxis.axis_label = measure.axis(split)
    if not known or (measure.best is None and min(known) <= 0):
        return lambda value: np.asarray(value, dtype=float)
    if measure.best is not None:
        scale = ErrorScale(measure)
        low, high = scale.limits(known)
        ticks, transform = scale.ticks(low, high), scale.position
        plot.yaxis.axis_label += " (spaced by log error)"
    else:
        low, high = min(known) / 1.05, max(known) * 1.05
        ticks, transform = logarithmic_ticks(low, high), _log10
    places = np.asarray(transform(ticks)).tolist()
    plot.yaxis.ticker = places
    plot.yaxis.major_label_overrides = dict(zip(places, tick_labels(ticks).values(), strict=True))
    plot.y_range.start, plot.y_range.end = np.asarray(transform([low, high])).tolist()
    return transform


def _log10(values: Any) -> NDArray[np.float64]:
    return np.log10(np.asarray(values, dtype=float))


def _sensitivity(comparison: Comparison) -> Any:
    cells, measure, rate = comparison.cells, comparison.measure, comparison.rate
    rates = cells["learning_rate"]
    if rate is None or (rates <= 0).any() or rates.nunique() == 1:
        return None  # the still figure has places for these
    if not cells["val_mean"].notna().any():
        return None
    plot = _new_plot(x_axis_type="log", x_axis_label=rate.title)
    sd = cells["val_sd"].fillna(0)
    cells = cells.assign(
        low=(cells["val_mean"] - sd).clip(lower=cells["val_lowest"]),
        high=(cells["val_mean"] + sd).clip(upper=cells["val_highest"]),
    )
    place = _scaled(plot, [*cells["low"], *cells["high"]], measure, "validation")
    tried = sorted(set(cells["learning_rate"]))
    if len(tried) <= 12:
        plot.xaxis.ticker = tried
        plot.xaxis.major_label_overrides = tick_labels(tried)
    drawn = []
    for arm, style in select_styles(cells["arm"], comparison.arm_styles).items():
        own = cells[cells["arm"] == arm].dropna(subset="val_mean").sort_values("learning_rate")
        source = {
            "x": own["learning_rate"].tolist(),
            "y": place(own["val_mean"]).tolist(),
            "low": place(own["low"]).tolist(),
            "high": place(own["high"]).tolist(),
            "arm": [arm] * len(own),
            "rate": own["learning_rate"].map(rate_text).tolist(),
            "reached": _texts(own, lambda c: spread(c["val_mean"], c["val_sd"], measure.digits)),
            "test": _texts(own, lambda c: spread(c["test_mean"], c["test_sd"], measure.digits)),
            "runs": _texts(own, lambda c: f"{c['n']} {marked(c)}".strip()),
        }
        points = _draw(plot, source, arm, style)
        ring = {name: [source[name][i] for i in np.flatnonzero(own["chosen"])] for name in "xy"}
        plot.scatter(**ring, size=17, fill_color=None, line_color=style.color, line_width=2,
                     legend_label=arm)  # fmt: skip
        drawn.append(points)
    tooltips = [("arm", "@arm"), (rate.title, "@rate"), ("validation", "@reached")]
    tooltips += [("test", "@test"), ("runs († diverged, ‡ collapsed)", "@runs")]
    return _finish(plot, drawn, tooltips)


def _texts(rows: pd.DataFrame, text: Callable[[pd.Series], str]) -> list[str]:
    return [text(row) for _, row in rows.iterrows()]


def _draw(plot: Any, columns: Mapping[str, list[Any]], arm: str, style: Any) -> Any:
    """An arm's band, line and points; the legend names all three at once."""
    from bokeh.models import ColumnDataSource

    source = ColumnDataSource(dict(columns))
    look = {"color": style.color, "legend_label": arm, "source": source}
    plot.varea("x", "low", "high", fill_alpha=0.18, **look)
    plot.line("x", "y", line_width=2, line_dash=DASHES.get(style.dashes, "solid"), **look)
    return plot.scatter("x", "y", marker=MARKERS.get(style.marker, "circle"), size=7, **look)


def _learning_curves(comparison: Comparison, measure: Measure) -> Any:
    curves = comparison.curves
    column = f"val/{measure.name}"
    if not has_values(curves, column):
        return None
    plot = _new_plot(x_axis_label="epoch")
    styles = select_styles(curves["arm"], comparison.arm_styles)
    tables = {arm: summarize_curve(curves[curves["arm"] == arm], column) for arm in styles}
    seen = [value for table in tables.values() for value in [*table["low"], *table["high"]]]
    place = _scaled(plot, seen, measure, "validation")
    drawn = []
    for arm, table in tables.items():
        epochs = table.index.tolist()
        source = {
            "x": epochs,
            "y": place(table["mean"]).tolist(),
            "low": place(table["low"]).tolist(),
            "high": place(table["high"]).tolist(),
            "arm": [arm] * len(table),
            "reached": _texts(
                table, lambda e: interval(e["mean"], e["low"], e["high"], digits=measure.digits)
            ),
            "runs": table["count"].astype(int).tolist(),
        }
        drawn.append(_draw(plot, source, arm, styles[arm]))
    tooltips = [("arm", "@arm"), ("epoch", "@x{0.##}"), ("mean [±1 sd]", "@reached")]
    return _finish(plot, drawn, [*tooltips, ("runs", "@runs")])


def _run_curve(comparison: Comparison) -> Any:
    """An empty plot, which the page fills with the curve of the run that a reader opens."""
    from bokeh.models import ColumnDataSource

    measure = comparison.measure
    if not has_values(comparison.history, f"val/{measure.name}"):
        return None
    plot = _new_plot(x_axis_label="epoch", y_axis_label=measure.axis("validation"))
    source = ColumnDataSource({"x": [], "y": []}, name="curve")
    plot.line("x", "y", source=source, line_width=2, color="#4477AA")
    points = plot.scatter("x", "y", source=source, size=7, color="#4477AA")
    return _finish(plot, [points], [("epoch", "@x{0.##}"), (measure.title, "@y{0.0000}")])


def _runs(comparison: Comparison) -> dict[str, Any]:
    """Column titles and rows; a number comes as [value, text], to sort by; and curves by run."""
    runs, measure, rate = ended_runs(comparison.runs), comparison.measure, comparison.rate
    runs = runs[:MOST_RUNS].reset_index(drop=True)
    reached = {
        split: metric_values(runs, f"{split}/{measure.name}", measure.scale)
        for split in ("val", "test")
    }
    texts = {
        "arm": runs["arm"].tolist(),
        **({} if rate is None else {rate.title: _numbers(runs["learning_rate"], rate_text)}),
        "seed": _numbers(runs["seed"].astype(float), lambda seed: f"{seed:.0f}"),
        "ended": runs["status"].tolist(),
        **{
            measure.axis(title): _numbers(reached[split], lambda v: number(v, measure.digits))
            for split, title in (("val", "validation"), ("test", "test"))
        },
    }
    names = runs["run"].tolist() if "run" in runs else []
    return {
        "columns": list(texts),
        "rows": [list(row) for row in zip(*texts.values(), strict=True)],
        "curves": [_curve(comparison, own) for own in _histories(comparison, names)],
    }


def _numbers(values: Any, text: Callable[[float], str]) -> list[list[Any]]:
    numbers = np.asarray(values, dtype=float).tolist()
    return [[value if np.isfinite(value) else None, text(value)] for value in numbers]


def _histories(comparison: Comparison, names: list[str]) -> list[pd.DataFrame | None]:
    known = comparison.history[:MOST_VALUES]
    by_run = dict(list(known.groupby("run"))) if "run" in known else {}
    return [by_run.get(name) for name in names]


def _curve(comparison: Comparison, own: pd.DataFrame | None) -> list[list[float]] | None:
    column = f"val/{comparison.measure.name}"
    if own is None or column not in own:
        return None
    known = own[own[column].abs() < np.inf]
    values = known[column].round(comparison.measure.digits + 2)
    return [known["epoch"].round(4).tolist(), values.tolist()] if len(known) else None
