"""How far a sweep is: read from its run records while it trains, or after it was stopped."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

from runlab import console
from runlab.runs import record
from runlab.sweeps.run_status import RunReader, RunStatus
from runlab.text import aligned, plural, shortened, width, wrapped

SHOWN_STATUSES = (
    *("finished", "diverged", "collapsed", "failed", "running", "interrupted", "unreadable"),
)
"""In this order; then those that this release does not know."""

OPEN_STATUSES = ("running", "interrupted", "unreadable")
"""Of runs that are trained, or that the same command goes on with."""


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

    def line(self, columns: int) -> str:
        """In one line: `118/300 · 2 stacks, epoch 2/3 · best val 97.4% mse lr 0.2 · 2 min left`.

        What matters least is left out, then shortened, where there are fewer columns.
        """
        return _line(self, columns)

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


def sweep_status(sweep: Path | RunReader, now: datetime | None = None) -> SweepStatus:
    """How far the runs in this folder are. Only reads.

    Args:
        sweep: its folder; who asks again gives a reader of it, which knows what has not changed.

    Raises:
        ValueError: where there are no runs.
    """
    time = (now or datetime.now(UTC)).timestamp()
    reader = RunReader(sweep) if isinstance(sweep, Path) else sweep
    runs = reader.read()
    not_started, waiting, at_most = _count_pending(runs)
    return SweepStatus(
        sweep=reader.sweep,
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
    return (pending * typical + left) / (len(running) + _ended_in_stacks(runs, running))


def _ended_in_stacks(runs: Sequence[RunStatus], running: Sequence[RunStatus]) -> int:
    """How many runs have ended that trained together with some that go on."""
    starts = {run.process: run.latest_start for run in running if run.latest_start is not None}
    return sum(
        run.process is not None and run.process in starts
        for run in runs
        if run.status in record.ENDED
        and (end := run.end()) is not None
        and end - starts.get(run.process, end) > (run.seconds or 0.0) / 2
    )


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


def _line(status: SweepStatus, columns: int) -> str:
    ended = [run for run in status.runs if run.status not in OPEN_STATUSES]
    total = f"{'≤' * status.at_most}{len(status.runs) + status.not_started}"
    others = [
        f"{len(status.with_status(name))} {name}"
        for name in ("diverged", "collapsed", "failed", "interrupted")
        if status.with_status(name)
    ]
    counts = f" ({', '.join(others)})" if others else ""
    parts = [f"{len(ended)}/{total}{counts}", _in_training(status), _best(status), _left(status)]
    short = [f"{len(ended)}/{total}", *parts[1:]]
    return _within(columns, parts, short)


def _within(columns: int, *choices: Sequence[str]) -> str:
    """The first choice that fits; the last one without the parts that do not."""
    for parts in choices:
        text = " · ".join(filter(None, parts))
        if len(text) <= columns:
            return text
    first, running, best, left = choices[-1]
    free = columns - len(" · ".join(filter(None, [first, running, left]))) - len(" · ")
    best = f"{best[: free - 1]}…" if free >= 20 else ""
    return shortened(" · ".join(filter(None, [first, running, best, left])), columns)


def _in_training(status: SweepStatus) -> str:
    """`2 stacks, epoch 2/3`: of the runs that are least far."""
    runs = status.with_status("running")
    if not runs:
        return ""
    processes = {run.process for run in runs}
    least = min(runs, key=lambda run: run.epochs)
    epoch = f"epoch {_epoch(least).replace(' of ', '/')}"
    if len(runs) == 1:
        return epoch
    is_stacked = None not in processes and len(processes) < len(runs)
    what = plural(len(processes), "stack") if is_stacked else plural(len(runs), "run")
    return f"{what}, {epoch}"


def _best(status: SweepStatus) -> str:
    """`best val 97.4% mse lr 0.2`: of the single runs that have ended."""
    known = [(run.score, run) for run in status.runs if run.score is not None]
    if not known:
        return ""
    score, run = max(
        known, key=lambda each: each[0].value * (1 if each[0].higher_is_better else -1)
    )
    return f"best val {score.text} {run.label}"


def _left(status: SweepStatus) -> str:
    if status.remaining is not None:
        return "the end is due" if status.remaining < 1 else f"{rough(status.remaining)} left"
    return "" if status.elapsed is None else f"{rough(status.elapsed)} so far"


def rough(seconds: float) -> str:
    """`50 s`, `2 min`, `2 h 5 min`: as exact as an estimate is."""
    return duration(seconds if seconds < 90 else 60 * round(seconds / 60))


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
