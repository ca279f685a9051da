"""The results as text: aligned for a terminal, piped for Markdown."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from statistics import median

from runlab.extras.benchmark.results import Memory, Results, Spread, in_words, spread
from runlab.stacks import FEWEST_PER_PROCESS
from runlab.text import aligned, piped, plural, wrapped

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
        if name not in results.stacks
        for line in paragraph(f"{name}: {description}", bullet="- ")
    ]
    yield paragraph(COUNTED)
    if results.stacks:
        yield paragraph(_together(results))
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
    baselines = list(results.seconds)[:2]
    header = ["", "µs per step", "samples/s", *(f"× {name}" for name in baselines), "of peak"]
    rows = [
        [
            name,
            _numbers(spread([1e6 * value for value in seconds])),
            f"{results.samples_per_second(name):,.0f}",
            *(_numbers(results.ratios(name, baseline)) for baseline in baselines),
            f"{results.share_of_peak(name):.1%}",
        ]
        for name, seconds in results.seconds.items()
        if name not in results.stacks
    ]
    return table(header, rows)


def _together(results: Results) -> str:
    [place] = {results.place[name] for name in results.stacks}
    on_cuda = results.settings["device"].startswith("cuda")
    shared = (
        "" if on_cuda else f"; {2 * FEWEST_PER_PROCESS} runs or more shared out among processes"
    )
    what = "tensors on the GPU" if on_cuda else "one process with all of them"
    return (
        f"Runs that train together, a seed each, as hydra/launcher=stacked trains them ({place}"
        f"{shared}): µs for a step of one run, the stack's divided by its runs. Where they go, as "
        f"medians: computing steps; the runs' Lightning loops, with batches, callbacks and "
        f"logging; the rest, which is changing turns and the runs' ends. MiB at the highest: of "
        f"{what}, and what each run adds to one alone"
    )


def _stacks(results: Results, table: Table) -> list[str]:
    _, losslab, *_ = results.seconds
    header = ["runs", "µs per step", f"× {losslab}", "of peak", "computing", "loops", "rest"]
    rows = [
        [
            str(runs),
            _numbers(spread([1e6 * value for value in results.seconds[name]])),
            _numbers(results.ratios(name, losslab)),
            f"{results.share_of_peak(name):.1%}",
            *(
                in_words(1e6 * median(getattr(each, part) for each in results.spent[name]))
                for part in ("computing", "looping", "rest")
            ),
            *_memory(results.memory.get(name, Memory(None, None)), runs),
        ]
        for name, runs in results.stacks.items()
    ]
    return table([*header, "MiB", "per run"], rows)


def _memory(memory: Memory, runs: int) -> list[str]:
    sizes = memory.together, memory.further_run(runs)
    return ["–" if size is None else in_words(size / 2**20) for size in sizes]


def _numbers(values: Spread) -> str:
    middle, least, most = map(in_words, values)
    return middle if least == most else f"{middle} [{least}, {most}]"


def _floors(results: Results) -> str:
    precision = results.settings["precision"]
    return (
        f"Floors: a step's matrix products and convolutions are {results.step_flops / 1e6:,.1f} "
        f"MFLOP of {precision}, which at the rate of a large matrix product (the peak) take "
        f"{_floor(results.step_flops, results.flops, 'GFLOP/s')}. Its parameters, gradients and "
        f"images are {results.step_bytes / 1e6:,.1f} MB read or written, which at the rate of a "
        f"large copy take {_floor(results.step_bytes, results.copied, 'GB/s')}; less where a cache "
        f"holds them."
    )


def _floor(work: int, rates: Mapping[str, float], unit: str) -> str:
    return " or ".join(
        f"{in_words(1e6 * work / rate)} µs on {place} ({rate / 1e9:,.1f} {unit})"
        for place, rate in rates.items()
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
