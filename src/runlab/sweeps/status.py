"""How far a sweep is: read from its run records while it trains, or after it was stopped."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

from runlab import console
from runlab.runs import lock, record
from runlab.text import aligned, plural, shortened, width, wrapped

SHOWN_STATUSES = (
    *("finished", "diverged", "collapsed", "failed", "running", "interrupted", "unreadable"),
)
"""In this order; then those that this release does not know."""

OPEN_STATUSES = ("running", "interrupted", "unreadable")
"""Of runs that are trained, or that the same command goes on with."""


@dataclass(frozen=True)
class RunStatus:
    """What a run's record says; None where it does not. Times are in Unix seconds.

    Attributes:
        problem: why it failed or was interrupted, or why its record can't be read.
        sweep_index: its number in the command that launched it, and how many runs that launched.
        started: when its first process began with it; latest_start: when its present or last one.
        seconds: of training, in all, when the record was last written.
    """

    name: str
    status: str
    problem: str = ""
    sweep_index: tuple[int, int] | None = None
    epochs: int = 0
    max_epochs: int | None = None
    started: float | None = None
    latest_start: float | None = None
    seconds: float | None = None

    def elapsed(self, now: float) -> float | None:
        """Seconds of training; at most an epoch too few for a run that went on from a checkpoint.

        A clock that was set back makes it too short, never negative.
        """
        if self.latest_start is None:
            return self.seconds
        return max(0.0, self.seconds or 0.0, now - self.latest_start)

    def end(self) -> float | None:
        """When it ended or stopped; of a resumed run, the earliest that can have been."""
        if self.started is None or self.latest_start is None:
            return self.latest_start
        return max(self.latest_start, self.started + (self.seconds or 0.0))


@dataclass(frozen=True)
class SweepStatus:
    """How far the runs of a sweep are.

    Attributes:
        not_started: runs of the latest command that have no folder yet.
        at_most: whether some of the `not_started` may be among the runs, launched by another
            command.
        elapsed: seconds from the first run's start to now, or to the last one's end if nothing is
            running.
        remaining: estimated seconds until the latest command ends, None if nothing tells.
    """

    sweep: Path
    now: float
    runs: list[RunStatus]
    not_started: int
    at_most: bool
    elapsed: float | None
    remaining: float | None

    def with_status(self, *statuses: str) -> list[RunStatus]:
        return [run for run in self.runs if run.status in statuses]

    def terminal(self) -> str:
        sections = [
            wrapped(_headline(self)),
            _counts(self),
            _running(self),
            _problems("failed", self.with_status("failed")),
            _problems("unreadable", self.with_status("unreadable")),
            [line for sentence in _advice(self) for line in wrapped(sentence)],
        ]
        return "\n\n".join("\n".join(section) for section in sections if section)


def sweep_status(sweep: Path, now: datetime | None = None) -> SweepStatus:
    """How far the runs in this folder are. Only reads. Raises ValueError where there are none."""
    time = (now or datetime.now(UTC)).timestamp()
    runs = [_run_status(folder) for folder in record.folders(sweep)]
    not_started, waiting, at_most = _count_pending(runs)
    return SweepStatus(
        sweep=sweep,
        now=time,
        runs=runs,
        not_started=not_started,
        at_most=at_most,
        elapsed=_elapsed(runs, time),
        remaining=_remaining(runs, not_started + waiting, time),
    )


def duration(seconds: float) -> str:
    """`8 s`, `3 min 20 s`, `2 h 5 min`."""
    whole = round(max(seconds, 0.0))
    if whole < 60:
        return f"{whole} s"
    large, small, units = *divmod(whole, 60), ("min", "s")
    if large >= 60:
        large, small, units = *divmod(round(whole / 60), 60), ("h", "min")
    return f"{large} {units[0]}" + (f" {small} {units[1]}" if small else "")


def _run_status(folder: Path) -> RunStatus:
    try:
        entry = record.read(folder)
        if entry["status"] == "running" and not _is_training(folder):
            entry = record.read(folder)  # it may have ended since it was first read
            if entry["status"] == "running":
                entry["status"] = "interrupted"
    except ValueError as error:
        return RunStatus(folder.name, "unreadable", str(error))
    timing, index = record.nested_dict(entry, "timing"), record.nested_dict(entry, "sweep_index")
    number, of = _integer(index.get("number")), _integer(index.get("of"))
    started = _unix_time(timing.get("started"))
    return RunStatus(
        name=folder.name,
        status=entry["status"],
        problem=str(entry.get("error") or "no reason was recorded"),
        sweep_index=None if number is None or of is None else (number, of),
        epochs=_integer(record.nested_dict(entry, "metrics").get("epochs")) or 0,
        max_epochs=_integer(record.nested_dict(entry, "config", "trainer").get("max_epochs")),
        started=started,
        latest_start=_unix_time(timing.get("latest")) or started,
        seconds=_finite(timing.get("seconds")),
    )


def _is_training(folder: Path) -> bool:
    try:
        return lock.is_held(folder)
    except OSError:  # another user's run: its lock can't be opened, its record is believed
        return True


def _finite(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def _integer(value: Any) -> int | None:
    number = _finite(value)
    return None if number is None else int(number)


def _unix_time(value: Any) -> float | None:
    try:
        return datetime.fromisoformat(value).replace(tzinfo=UTC).timestamp()
    except (TypeError, ValueError):
        return None


def _count_pending(runs: Sequence[RunStatus]) -> tuple[int, int, bool]:
    """Runs that the latest command has not started, and interrupted ones that it has yet to reach.

    And whether the first is only a bound: a command skips what another one, of another number of
    runs, has trained, which no record tells beforehand.
    """
    indexed = [(run.sweep_index, run) for run in runs if run.sweep_index is not None]
    if not indexed:
        return 0, 0, False
    (number, of), _ = max(indexed, key=lambda pair: (pair[1].latest_start or 0.0, pair[0]))
    launch = {index[0]: run for index, run in indexed if index[1] == of}
    others = len(runs) - len(launch)
    as_many = sum(index[1] == of for index, _ in indexed)
    if len(launch) < as_many or number > of:  # several commands of as many runs; a study extended
        return max(0, of - number), 0, number < of
    waiting = sum(run.status == "interrupted" for run in launch.values())
    missing = of - len(launch)
    # stacks start their runs in an order of their own; a command passes over runs that it skips
    skipped = min(number - sum(each <= number for each in launch), others)
    not_started = max(0, missing - skipped)
    return not_started, waiting, not_started > 0 and others > 0


def _elapsed(runs: Sequence[RunStatus], now: float) -> float | None:
    starts = [run.started for run in runs if run.started is not None]
    ends = [end for run in runs if (end := run.end()) is not None]
    if not starts:
        return None
    is_running = any(run.status == "running" for run in runs)
    return max(0.0, (now if is_running else max(ends)) - min(starts))


def _remaining(runs: Sequence[RunStatus], pending: int, now: float) -> float | None:
    running = [run for run in runs if run.status == "running"]
    typical = _typical_seconds(runs, now)
    if not running or typical is None:
        return None
    left = sum(max(0.0, typical - (run.elapsed(now) or 0.0)) for run in running)
    return (pending * typical + left) / len(running)


def _typical_seconds(runs: Sequence[RunStatus], now: float) -> float | None:
    """The median of the runs that have ended or, as long as none has, at the running ones' pace."""
    times = [run.seconds for run in runs if run.status in record.ENDED]
    known = [seconds for seconds in times if seconds is not None]
    if not known:
        known = [
            seconds * max(run.max_epochs, run.epochs) / run.epochs
            for run in runs
            if run.status == "running" and run.epochs > 0 and run.max_epochs is not None
            if (seconds := run.seconds or run.elapsed(now)) is not None
        ]
    return median(known) if known else None


def _headline(status: SweepStatus) -> str:
    total = len(status.runs) + status.not_started
    ended = [run for run in status.runs if run.status not in OPEN_STATUSES]
    bound = "at most " if status.at_most else ""
    text = f"{status.sweep}: {len(ended)} of {bound}{plural(total, 'run')} ended"
    text += "" if status.elapsed is None else f" after {duration(status.elapsed)}"
    if not status.with_status("running"):
        return f"{text}; nothing is being trained"
    if status.remaining is None:
        return f"{text}; no estimate before a first epoch is done"
    if round(status.remaining) == 0:
        return f"{text}, the end is due"
    return f"{text}, {bound}about {duration(status.remaining)} left"


def _counts(status: SweepStatus) -> list[str]:
    others = sorted({run.status for run in status.runs} - set(SHOWN_STATUSES))
    counts = {name: len(status.with_status(name)) for name in (*SHOWN_STATUSES, *others)}
    rows = [[name, str(count)] for name, count in counts.items() if count]
    if status.not_started:
        rows.append(["not started", f"{'≤ ' * status.at_most}{status.not_started}"])
    return aligned(["status", "runs"], rows)


def _running(status: SweepStatus) -> list[str]:
    runs = sorted(status.with_status("running"), key=lambda run: run.latest_start or 0.0)
    if not runs:
        return []
    rows = [["running", "epoch", "elapsed"]]
    for run in runs:
        elapsed = run.elapsed(status.now)
        rows.append([run.name, _epoch(run), "" if elapsed is None else duration(elapsed)])
    free = console.columns() - sum(
        2 + max(map(width, column)) for column in list(zip(*rows, strict=True))[1:]
    )
    header, *body = [[shortened(name, free), *others] for name, *others in rows]
    return aligned(header, body)


def _epoch(run: RunStatus) -> str:
    if run.max_epochs is None:
        return str(run.epochs + 1)
    return f"{min(run.epochs + 1, run.max_epochs)} of {run.max_epochs}"


def _problems(title: str, runs: Sequence[RunStatus]) -> list[str]:
    lines = [line for run in runs for line in wrapped(f"{run.name}: {run.problem}", bullet="- ")]
    return [title, *lines] if lines else []


def _advice(status: SweepStatus) -> list[str]:
    if status.with_status("running"):
        return []
    bound = "at most " if status.at_most else ""
    counts = {name: len(status.with_status(name)) for name in ("interrupted", "unreadable")}
    left = [f"{count} {name}" for name, count in counts.items() if count]
    left += [f"{bound}{status.not_started} not started"] if status.not_started else []
    sentences = []
    if left:
        sentences.append(f"The same command goes on with what is left ({', '.join(left)}).")
    if status.with_status("failed"):
        sentences.append("The same command with retry=failed trains what failed again.")
    return sentences
