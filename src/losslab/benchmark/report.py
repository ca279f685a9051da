"""The results as text: aligned for a terminal, piped for Markdown."""

from collections.abc import Callable, Iterable, Iterator, Sequence

from losslab.benchmark.results import Results, Spread, spread
from losslab.text import aligned, piped, plural, wrapped

Table = Callable[[Sequence[str], Iterable[Sequence[str]]], list[str]]

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
        for line in paragraph(f"{name}: {description}", bullet="- ")
    ]
    yield paragraph(COUNTED)
    yield paragraph(_floor(results))
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
    baselines = list(results.seconds)[:2]
    header = ["", "µs per step", "images/s", *(f"× {name}" for name in baselines), "of peak"]
    rows = [
        [
            name,
            _numbers(spread([1e6 * value for value in seconds])),
            f"{results.images_per_second(name):,.0f}",
            *(_numbers(results.ratios(name, baseline)) for baseline in baselines),
            f"{results.share_of_peak(name):.1%}",
        ]
        for name, seconds in results.seconds.items()
    ]
    return table(header, rows)


def _numbers(values: Spread) -> str:
    middle, least, most = map(_number, values)
    return middle if least == most else f"{middle} [{least}, {most}]"


def _number(value: float) -> str:
    """Three digits, or all before the point."""
    decimals = 2 if value < 10 else 1 if value < 100 else 0
    return f"{value:.{decimals}f}"


def _floor(results: Results) -> str:
    peaks = [f"{peak / 1e9:,.1f} GFLOP/s in {name}" for name, peak in results.peaks.items()]
    floors = dict.fromkeys(_number(1e6 * results.floor(name)) for name in results.seconds)
    return (
        f"Peak: a step's matrix products and convolutions are {results.step_flops / 1e6:,.1f} "
        f"MFLOP; a large matrix product reaches {' and '.join(peaks)}, so that they alone take "
        f"{' or '.join(floors)} µs."
    )


def _outside(results: Results) -> str:
    seconds = _numbers(spread(results.outside_training))
    return (
        f"Not counted of losslab, once a run: {seconds} s of building the parts, Lightning's "
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
