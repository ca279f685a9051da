"""Each sweep of a folder of logs in words: what was asked, what is concluded, what it takes."""

import os
import stat
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from runlab import program
from runlab.analysis.outcomes import (
    CONCLUSION,
    Conclusion,
    Outcomes,
    outcomes_of,
    read_conclusion,
)
from runlab.config.axes import ABSENT, Axes, value_at
from runlab.runs import alike, record
from runlab.sweeps.status import OPEN_STATUSES, RunStatus, SweepStatus, duration, sweep_status
from runlab.text import plural

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
        is_concluded: whether `verdicts` are conclusions from its runs as they are.
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
    found = [read_sweep(folder) for folder in sorted(logs.iterdir()) if record.is_sweep(folder)]
    if not found:
        raise ValueError(
            f"expected sweeps in {logs}, got none: launch one, or name the folder that holds them"
        )
    return sorted(found, key=lambda sweep: -sweep.date)


def read_sweep(folder: Path) -> Sweep:
    try:
        status = sweep_status(folder)
    except ValueError:
        status = None
    runs = [] if status is None else status.runs
    starts = [run.latest_start for run in runs if run.latest_start is not None]
    entries = {run.name: entry for run, entry in alike.readable(folder)}
    outcomes, conclusion = outcomes_of(entries.items()), read_conclusion(folder / "comparison")
    is_current = conclusion is not None and conclusion.ended == outcomes
    sizes = list(files_in(folder))
    return Sweep(
        folder=folder,
        date=max(starts, default=folder.stat().st_mtime),
        question=_question(list(entries.values())),
        verdicts=_verdicts(folder, status, conclusion, outcomes),
        is_concluded=is_current and not any(run.status == "running" for run in runs),
        runs=len(runs),
        ends=_ends(runs),
        size=sum(size for _, size in sizes),
        checkpoints=sum(size for path, size in sizes if path.suffix == ".ckpt"),
        pages=dict(_pages(folder)),
    )


def files_in(folder: Path) -> Iterator[tuple[Path, int]]:
    """Files and their bytes; neither links nor what lies behind them.

    Of a file with several names, such as a best checkpoint that is the last, only one has bytes.
    """
    seen = set()
    for place, _, names in os.walk(folder):
        for path in (Path(place) / name for name in names):
            with suppress(OSError):  # gone since: the sweep may train
                found = path.lstat()
                if not stat.S_ISLNK(found.st_mode):
                    inode = found.st_dev, found.st_ino
                    yield path, 0 if found.st_nlink > 1 and inode in seen else found.st_size
                    seen.add(inode)


def _question(entries: Sequence[Mapping[str, Any]]) -> str:
    """`Which loss: mse, huber? digits, mlp, 3 epochs`; what no run tells is left out."""
    if not entries:
        return ""
    axes = Axes.of(record.nested_dict(entries[0], "config"))
    arms = sorted(_kinds(_value(entry, axes.arm) for entry in entries))
    shared = [_kinds(_value(entry, key) for entry in entries) for key in ("data", "model")]
    epochs = _kinds(_value(entry, "trainer.max_epochs") for entry in entries)
    held = [kinds[0] for kinds in shared if len(kinds) == 1]
    held += [plural(int(float(each)), "epoch") for each in epochs if len(epochs) == 1]
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


def _verdicts(
    folder: Path, status: SweepStatus | None, conclusion: Conclusion | None, outcomes: Outcomes
) -> list[str]:
    if status is not None and status.with_status("running"):
        ended = len(status.with_status(*record.ENDED))
        left = "" if status.remaining is None else f", about {duration(status.remaining)} left"
        return [f"Running: {ended} of {plural(status.total, 'run')} ended{left}"]
    compare = program.command("compare", str(folder))
    if conclusion is not None:
        changes = _changes(conclusion.ended, outcomes)
        return _headlines(conclusion) + ([f"{changes}: {compare}"] if changes else [])
    if status is None:
        return ["No run has begun"]
    if outcomes:
        is_there = (folder / "comparison" / CONCLUSION).exists()
        problem = "Its conclusion can't be read" if is_there else "Not compared yet"
        return [f"{problem}: {compare}"]
    problems = [run.problem for run in status.runs if run.problem]
    return ["Nothing has ended" + (f": {problems[0]}" if problems else "")]


def _changes(concluded: Outcomes, now: Outcomes) -> str:
    """`Since then 2 runs ended, 1 run ended again, 3 runs disappeared`."""
    before, after = ({run for run, _ in outcomes} for outcomes in (concluded, now))
    again = before & {run for run, _ in now - concluded}
    counts = {
        "ended": len(after - before),
        "ended again": len(again),
        "disappeared": len(before - after),
    }
    told = [f"{plural(count, 'run')} {what}" for what, count in counts.items() if count]
    return f"Since then {', '.join(told)}" if told else ""


def _headlines(conclusion: Conclusion) -> list[str]:
    """At most three; the sentence where there is none, as of a single arm."""
    told = conclusion.headlines
    more = [f"{len(told) - MOST_VERDICTS} more in the report"] if len(told) > MOST_VERDICTS else []
    return told[:MOST_VERDICTS] + more or [conclusion.verdict]


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
