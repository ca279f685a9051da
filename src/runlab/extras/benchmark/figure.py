"""What a step of one run costs, the more runs train together."""

from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator

from runlab.analysis.figures.canvas import add_legend, apply_style, new_figure, set_title
from runlab.analysis.figures.scales import scale_positive
from runlab.analysis.palette import BLUE, GREEN, MUTED, VERMILION
from runlab.extras.benchmark.results import Results, Spread, in_words, spread
from runlab.text import plural

STACKED, LOSSLAB, BARE = BLUE, VERMILION, GREEN


def scaling_figure(results: Results) -> Figure:
    """Time per step against the number of runs; beside it one alone, the bare loop, the floors."""
    figure = new_figure(3.6)
    axes = figure.subplots()
    bare, losslab, *_ = results.seconds
    _draw_stacks(axes, results)
    for name, label, color in ((losslab, f"{losslab}, one run alone", LOSSLAB), (bare, bare, BARE)):
        _draw_level(axes, label, microseconds(results.seconds[name]), color)
    largest = list(results.stacks)[-1]
    for of, floor, dashes in (
        ("arithmetic alone, at peak", results.arithmetic(largest), "--"),
        ("bytes alone, at a copy's rate", results.traffic(largest), ":"),
    ):
        axes.axhline(1e6 * floor, color=MUTED, linestyle=dashes, linewidth=1.4,
                     label=f"floor: {of}, {in_words(1e6 * floor)} µs")  # fmt: skip
    _scale(axes, sorted(results.stacks.values()))
    set_title(axes, "A step of one run, the more runs train together", _note(results))
    add_legend(figure, *axes.get_legend_handles_labels())
    return figure


def microseconds(seconds: list[float]) -> Spread:
    return spread([1e6 * value for value in seconds])


def _draw_stacks(axes: Axes, results: Results) -> None:
    points = sorted(
        (runs, *microseconds(results.seconds[name])) for name, runs in results.stacks.items()
    )
    runs, medians, least, most = zip(*points, strict=True)
    look: Any = {"color": STACKED, "linewidth": 1.6, "zorder": 3}  # above the levels
    axes.vlines(runs, least, most, **look)
    axes.plot(runs, medians, marker="o", markersize=5, label="runs that train together", **look)


def _draw_level(axes: Axes, label: str, times: Spread, color: str) -> None:
    axes.axhspan(times.least, times.most, color=color, alpha=0.15, linewidth=0)
    axes.axhline(times.median, color=color, label=f"{label}, {in_words(times.median)} µs")


def _scale(axes: Axes, runs: list[int]) -> None:
    apply_style(axes, "y")
    scale_positive(axes, axes.dataLim.intervaly)
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(FixedLocator(runs))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set_xlabel("number of runs")
    axes.set_ylabel("µs for a step of one run")


def _note(results: Results) -> str:
    settings, hardware = results.settings, results.provenance["hardware"]
    [place] = {results.place[name] for name in results.stacks}
    machine = hardware["gpu"] or hardware["cpu"]
    rounds, steps = plural(results.rounds, "round"), plural(results.steps, "step")
    return (
        f"{settings['network']}, batch {results.batch_size}, {settings['optimizer']}, "
        f"{settings['precision']}; {machine}, {place}\n"
        f"median of {rounds} of {steps}; bars and bands from the fastest round to the slowest"
    )
