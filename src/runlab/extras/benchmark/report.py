"""The results as text, aligned for a terminal or piped for Markdown, and as a figure."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from statistics import median
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator

from runlab.analysis.figures.canvas import add_legend, apply_style, new_figure, set_title
from runlab.analysis.figures.scales import scale_positive
from runlab.analysis.greys import MUTED
from runlab.analysis.palette import BLUE, GREEN, VERMILION
from runlab.extras.benchmark.results import Memory, Results, Spread, spread, three_digits
from runlab.stacks import FEWEST_PER_PROCESS
from runlab.text import aligned, piped, plural, wrapped

Table = Callable[[Sequence[str], Iterable[Sequence[str]]], list[str]]

STACKED, ALONE, BARE = BLUE, VERMILION, GREEN

COUNTED = (
    "Counted of losslab and Lightning: a fit from on_train_start to on_train_end, so every hook, "
    "logging, the order of the batches and checkpoints, but not validation; of the bare loop: all "
    "but making the network and its optimizer. The clock is read when the device is idle."
)


def terminal(results: Results) -> str:
    return "\n\n".join("\n".join(section) for section in _sections(results, aligned, wrapped))


def markdown(results: Results) -> str:
    def line(text: str, bullet: str = "") -> list[str]:
        return [bullet + text]

    sections = _sections(results, piped, line)
    return "\n\n".join("\n".join(section) for section in sections) + "\n"


def _sections(
    results: Results, table: Table, paragraph: Callable[..., list[str]]
) -> Iterator[list[str]]:
    yield paragraph(_title(results))
    yield _steps(results, table)
    yield [
        line
        for name, description in results.descriptions.items()
        if name not in results.stacks
        for line in paragraph(f"{name}: {description}", bullet="- ")
    ]
    yield paragraph(COUNTED)
    if results.stacks:
        yield paragraph(_stacks_note(results))
        yield _stacks(results, table)
    yield paragraph(_floors(results))
    yield paragraph(_outside(results))
    if results.startups:
        times = plural(len(results.startups), "time")
        yield paragraph(f"Seconds before the first step, {times} in a fresh process")
        yield _startups(results.startups, table)
    yield [line for text in _provenance(results) for line in paragraph(text, bullet="- ")]


def _title(results: Results) -> str:
    settings = results.settings
    what = ", ".join(settings[key] for key in ("network", "loss", "optimizer", "data"))
    rounds, steps = plural(results.rounds, "round"), plural(results.steps, "step")
    return (
        f"Time per training step: {what}, batch {results.batch_size}; {settings['device']}, "
        f"{settings['threads']}; median [min, max] over {rounds} of {steps}, order rotated, ratios "
        f"within a round"
    )


def _steps(results: Results, table: Table) -> list[str]:
    references = list(results.seconds)[:2]
    header = ["", "µs per step", "samples/s", *(f"× {name}" for name in references), "of peak"]
    rows = [
        [
            name,
            _numbers(microseconds(seconds)),
            f"{results.samples_per_second(name):,.0f}",
            *(_numbers(results.ratios(name, reference)) for reference in references),
            f"{results.share_of_peak(name):.1%}",
        ]
        for name, seconds in results.seconds.items()
        if name not in results.stacks
    ]
    return table(header, rows)


def _stacks_note(results: Results) -> str:
    [resource] = {results.resource[name] for name in results.stacks}
    on_cuda = results.settings["device"].startswith("cuda")
    divided = (
        "" if on_cuda else f"; {2 * FEWEST_PER_PROCESS} runs or more shared out among processes"
    )
    measured = "tensors on the GPU" if on_cuda else "one process with all of them"
    return (
        f"Runs that train together, a seed each, as hydra/launcher=stacked trains them ({resource}"
        f"{divided}): µs for a step of one run, the stack's divided by its runs. Where they go, as "
        f"medians: computing steps; the runs' Lightning loops, with batches, callbacks and "
        f"logging; the rest, which is changing from run to run and the runs' ends. MiB at the "
        f"highest: of {measured}, and what each run adds to one alone"
    )


def _stacks(results: Results, table: Table) -> list[str]:
    _, losslab, *_ = results.seconds
    header = ["runs", "µs per step", f"× {losslab}", "of peak", "computing", "loops", "rest"]
    rows = [
        [
            str(runs),
            _numbers(microseconds(results.seconds[name])),
            _numbers(results.ratios(name, losslab)),
            f"{results.share_of_peak(name):.1%}",
            *(
                three_digits(1e6 * median(getattr(each, part) for each in results.breakdown[name]))
                for part in ("compute", "loop", "other")
            ),
            *_memory(results.memory.get(name, Memory(None, None)), runs),
        ]
        for name, runs in results.stacks.items()
    ]
    return table([*header, "MiB", "per run"], rows)


def _memory(memory: Memory, runs: int) -> list[str]:
    sizes = memory.together, memory.further_run(runs)
    return ["–" if size is None else three_digits(size / 2**20) for size in sizes]


def _numbers(values: Spread) -> str:
    middle, least, most = map(three_digits, values)
    return middle if least == most else f"{middle} [{least}, {most}]"


def _floors(results: Results) -> str:
    precision = results.settings["precision"]
    return (
        f"Floors: a step's matrix products and convolutions are {results.step_flops / 1e6:,.1f} "
        f"MFLOP of {precision}, which at the rate of a large matrix product (the peak) take "
        f"{_floor(results.step_flops, results.flops, 'GFLOP/s')}. Its parameters, gradients and "
        f"inputs are {results.step_bytes / 1e6:,.1f} MB read or written, which at the rate of a "
        f"large copy take {_floor(results.step_bytes, results.copied, 'GB/s')}; less where a cache "
        f"holds them."
    )


def _floor(work: int, rates: Mapping[str, float], unit: str) -> str:
    return " or ".join(
        f"{three_digits(1e6 * work / rate)} µs on {resource} ({rate / 1e9:,.1f} {unit})"
        for resource, rate in rates.items()
    )


def _outside(results: Results) -> str:
    seconds = _numbers(spread(results.seconds_outside_training))
    return (
        f"Not counted of losslab, once a run: {seconds} s of building the components, Lightning's "
        f"set-up and tear-down, and validation."
    )


def _startups(startups: list[dict[str, float]], table: Table) -> list[str]:
    stages = {stage: spread([each[stage] for each in startups]) for stage in startups[0]}
    stages["together"] = spread([sum(each.values()) for each in startups])
    return table(["", "s"], [[stage, _numbers(times)] for stage, times in stages.items()])


def _provenance(results: Results) -> Iterator[str]:
    hardware, git = results.provenance["hardware"], results.provenance["git"]
    gpu = f", {hardware['gpu']}" if hardware["gpu"] else ""
    yield f"hardware: {hardware['cpu']}, {hardware['cores']} cores{gpu}, {hardware['platform']}"
    versions = results.provenance["versions"]
    yield "versions: " + ", ".join(f"{name} {version}" for name, version in versions.items())
    yield f"revision: {git['revision'] or 'not recorded'}{' with changes' if git['dirty'] else ''}"


def scaling_figure(results: Results) -> Figure:
    """Time per step against the number of runs; beside it one alone, the bare loop, the floors."""
    figure = new_figure(3.6)
    axes = figure.subplots()
    bare, losslab, *_ = results.seconds
    _draw_stacks(axes, results)
    for name, label, color in ((losslab, f"{losslab}, one run alone", ALONE), (bare, bare, BARE)):
        _draw_level(axes, label, microseconds(results.seconds[name]), color)
    largest = list(results.stacks)[-1]
    for of, floor, dashes in (
        ("arithmetic alone, at peak", results.arithmetic_floor(largest), "--"),
        ("bytes alone, at a copy's rate", results.bytes_floor(largest), ":"),
    ):
        axes.axhline(1e6 * floor, color=MUTED, linestyle=dashes, linewidth=1.4,
                     label=f"floor: {of}, {three_digits(1e6 * floor)} µs")  # fmt: skip
    _scale_axes(axes, sorted(results.stacks.values()))
    set_title(axes, "A step of one run, the more runs train together", _figure_note(results))
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
    axes.axhline(times.median, color=color, label=f"{label}, {three_digits(times.median)} µs")


def _scale_axes(axes: Axes, runs: list[int]) -> None:
    apply_style(axes, "y")
    scale_positive(axes, axes.dataLim.intervaly)
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(FixedLocator(runs))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set_xlabel("number of runs")
    axes.set_ylabel("µs for a step of one run")


def _figure_note(results: Results) -> str:
    settings, hardware = results.settings, results.provenance["hardware"]
    [resource] = {results.resource[name] for name in results.stacks}
    machine = hardware["gpu"] or hardware["cpu"]
    rounds, steps = plural(results.rounds, "round"), plural(results.steps, "step")
    return (
        f"{settings['network']}, batch {results.batch_size}, {settings['optimizer']}, "
        f"{settings['precision']}; {machine}, {resource}\n"
        f"median of {rounds} of {steps}; bars and bands from the fastest round to the slowest"
    )
