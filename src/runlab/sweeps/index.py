"""All sweeps of a folder of logs at one look: a page and a table, newest first."""

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from runlab import atomic, program
from runlab.analysis import greys
from runlab.analysis.conclusion_file import read_conclusion
from runlab.config.axes import ABSENT, Axes, value_at
from runlab.console import UNDECIDED as BOLD
from runlab.console import columns, painted
from runlab.runs import record
from runlab.sweeps.status import OPEN_STATUSES, RunStatus, SweepStatus, duration, sweep_status
from runlab.text import plural, printable, shortened, wrapped

PAGE = "index.html"
MARK = '<meta name="generator" content="runlab index">'
"""Tells a page that is written here from another file of its name."""

TEMPLATE = "index.html.jinja"
STYLES = Path(greys.__file__).parent
"""Where the style sheet of the comparison's page lies."""

MOST_VERDICTS = 3
MOST_NAMED = 6
"""Arms of a question."""


@dataclass(frozen=True)
class Sweep:
    """A folder of runs, in words.

    Attributes:
        date: Unix time of its latest run's start, or of the folder where no run has begun.
        question: what its runs differ in, and what they share.
        verdicts: what is concluded, or why nothing is.
        is_concluded: whether `verdicts` are conclusions.
        runs: how many there are; ends: how many of them did not just finish, as in `2 failed`.
        size: bytes on disk; checkpoints: those of them in checkpoints.
        pages: relative addresses of its comparisons, by what they are called.
    """

    folder: Path
    date: float
    question: str
    verdicts: Sequence[str]
    is_concluded: bool
    runs: int
    ends: str
    size: int
    checkpoints: int
    pages: Mapping[str, str]

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def link(self) -> str:
        return f"{address(Path(self.name))}/"

    @property
    def day(self) -> str:
        return f"{datetime.fromtimestamp(self.date):%Y-%m-%d %H:%M}"


def read_sweeps(logs: Path) -> list[Sweep]:
    """The sweeps in this folder, newest first; also those that train, or that are damaged.

    Raises:
        ValueError: if there are none.
    """
    if not logs.is_dir():
        raise ValueError(f"expected the folder of all sweeps, got {logs}, which is not a folder")
    found = [read_sweep(folder) for folder in sorted(logs.iterdir()) if is_sweep(folder)]
    if not found:
        raise ValueError(
            f"expected sweeps in {logs}, got none: launch one, or name the folder that holds them"
        )
    return sorted(found, key=lambda sweep: -sweep.date)


def is_sweep(folder: Path) -> bool:
    """Whether runs were launched into it, though none may have begun."""
    if not folder.is_dir():
        return False
    return (folder / "multirun.yaml").exists() or any(
        (run / ".hydra").is_dir() or record.is_run(run) for run in folder.iterdir()
    )


def read_sweep(folder: Path) -> Sweep:
    try:
        status = sweep_status(folder)
    except ValueError:
        status = None
    runs = [] if status is None else status.runs
    starts = [run.latest_start for run in runs if run.latest_start is not None]
    size, checkpoints = disk_use(folder)
    conclusion = read_conclusion(folder / "comparison")
    is_concluded = conclusion is not None and not any(run.status == "running" for run in runs)
    return Sweep(
        folder=folder,
        date=max(starts, default=folder.stat().st_mtime),
        question=_question([entry for _, entry in record.readable(folder)]),
        verdicts=_verdicts(status, conclusion),
        is_concluded=is_concluded,
        runs=len(runs),
        ends=_ends(runs),
        size=size,
        checkpoints=checkpoints,
        pages=dict(_pages(folder)),
    )


def disk_use(folder: Path) -> tuple[int, int]:
    """Bytes of all files in it, and of those that are checkpoints; links are not followed."""
    total = checkpoints = 0
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                size = (Path(place) / name).lstat().st_size
            except OSError:  # gone since: the sweep may train
                continue
            total += size
            checkpoints += size * name.endswith(".ckpt")
    return total, checkpoints


def size_text(size: int) -> str:
    """`334 MB`, in powers of 1,000 as disks are sold."""
    scaled = float(size)
    for unit in ("bytes", "kB", "MB"):
        if scaled < 999.5:
            return f"{scaled:.0f} {unit}"
        scaled /= 1000
    return f"{scaled:.1f} GB"


def _question(entries: Sequence[Mapping[str, Any]]) -> str:
    """`Which loss: mse, huber? digits, mlp, 3 epochs`; what no run tells is left out."""
    if not entries:
        return ""
    axes = Axes.of(record.nested_dict(entries[0], "config"))
    arms = sorted(_kinds(_value(entry, axes.arm) for entry in entries))
    shared = [_kinds(_value(entry, key) for entry in entries) for key in ("data", "model")]
    epochs = _kinds(_value(entry, "trainer.max_epochs") for entry in entries)
    held = [kinds[0] for kinds in shared if len(kinds) == 1]
    held += [f"{kinds} epoch{'s' * (kinds != '1')}" for kinds in epochs if len(epochs) == 1]
    named = ", ".join(arms[:MOST_NAMED])
    named += f" and {len(arms) - MOST_NAMED} more" if len(arms) > MOST_NAMED else ""
    asked = f"Which {axes.arm}: {named}?" if len(arms) > 1 else named and f"{axes.arm} {named}."
    return " ".join(filter(None, [asked, ", ".join(held)]))


def _value(entry: Mapping[str, Any], key: str | None) -> str:
    """The choice of a group, or the value of a key; empty where there is none."""
    if key is None:
        return ""
    choice = record.nested_dict(entry, "choices").get(key)
    value = value_at(record.nested_dict(entry, "config"), key) if choice is None else choice
    return "" if value is ABSENT or value is None else str(value)


def _kinds(values: Iterator[str]) -> list[str]:
    return [value for value in dict.fromkeys(values) if value]


def _verdicts(status: SweepStatus | None, conclusion: Mapping[str, Any] | None) -> list[str]:
    if status is None:
        return ["No run has begun"]
    ended = [run for run in status.runs if run.status in record.ENDED]
    running = status.with_status("running")
    if running:
        total = len(status.runs) + status.not_started
        left = "" if status.remaining is None else f", about {duration(status.remaining)} left"
        return [f"Running: {len(ended)} of {plural(total, 'run')} ended{left}"]
    compare = program.command("compare", str(status.sweep))
    if conclusion is not None:
        more = len(ended) - conclusion.get("ended", len(ended))
        since = [f"{plural(more, 'run')} ended since: {compare}"] if more > 0 else []
        return _headlines(conclusion) + since
    if ended:
        return [f"Not compared yet: {compare}"]
    problems = [run.problem for run in status.runs if run.problem]
    return ["Nothing has ended" + (f": {problems[0]}" if problems else "")]


def _headlines(conclusion: Mapping[str, Any]) -> list[str]:
    """At most three; the sentence where there is none, as of a single arm."""
    known = conclusion.get("headlines")
    told = [str(each) for each in known] if isinstance(known, list) else []
    more = [f"{len(told) - MOST_VERDICTS} more in the report"] if len(told) > MOST_VERDICTS else []
    return told[:MOST_VERDICTS] + more or [conclusion["verdict"]]


def _ends(runs: Sequence[RunStatus]) -> str:
    counts = Counter(run.status for run in runs if run.status != "finished")
    order = (*record.UNSOUND, "failed", *OPEN_STATUSES)
    known = [status for status in order if counts[status]]
    others = sorted(set(counts) - set(order))
    return ", ".join(f"{counts[status]} {status}" for status in [*known, *others])


def _pages(folder: Path) -> Iterator[tuple[str, str]]:
    """The primary comparison's page first."""
    for comparison in sorted(folder.glob("comparison*/comparison.html")):
        _, _, measure = comparison.parent.name.partition("_")
        yield (
            f"report by {measure}" if measure else "report",
            address(comparison.relative_to(folder.parent)),
        )


def address(path: Path) -> str:
    """Relative, as in a link: whatever its name holds stays a name."""
    return quote(os.fsencode(path))


# How they are shown


def write_index(logs: Path, sweeps: Sequence[Sweep]) -> Path:
    """Writes `index.html` into the folder of all sweeps; returns its path.

    Raises:
        ValueError: if there is another file of that name.
    """
    path = logs / PAGE
    if path.exists() and MARK not in path.read_text(encoding="utf-8", errors="replace"):
        raise ValueError(f"expected {path} to be free, got a file that is no index: move it")
    atomic.replace(path, to_index_page(sweeps).encode())
    return path


def to_index_page(sweeps: Sequence[Sweep]) -> str:
    environment = Environment(
        loader=FileSystemLoader([Path(__file__).parent, STYLES]), autoescape=True,
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
        finalize=lambda value: printable(value) if type(value) is str else value,
    )  # fmt: skip
    environment.globals.update(plural=plural, size_text=size_text, program=program.name())
    return environment.get_template(TEMPLATE).render(
        sweeps=sweeps,
        css_variables=greys.css_variables(),
        written=f"{datetime.now():%Y-%m-%d %H:%M}",
        total=size_text(sum(sweep.size for sweep in sweeps)),
    )


NUMBERS = "{:>16}  {:>5}  {:>9}"
"""Columns of the table, beside the name."""


def index_table(sweeps: Sequence[Sweep]) -> list[str]:
    """Lines for a terminal: below each sweep what is concluded."""
    free = columns() - len(NUMBERS.format("", "", "")) - 2
    names = [shortened(printable(sweep.name), free) for sweep in sweeps]
    width = max(map(len, [*names, "sweep"]))
    lines = [f"{'sweep':{width}}  {NUMBERS.format('latest run', 'runs', 'size')}"]
    lines.append("-" * len(lines[0]))
    for name, sweep in zip(names, sweeps, strict=True):
        numbers = NUMBERS.format(sweep.day, sweep.runs, size_text(sweep.size))
        told = [line for verdict in sweep.verdicts for line in wrapped(verdict, bullet="  ")]
        lines.append(f"{name:{width}}  {numbers}")
        lines += [painted(line, BOLD) for line in told] if sweep.is_concluded else told
    return lines
