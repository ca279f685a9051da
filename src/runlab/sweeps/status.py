"""How far a sweep is: read from its run records while it trains, or after it was stopped."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from runlab import console
from runlab.launchers.slurm import abbreviated
from runlab.launchers.submissions import living_jobs, read_submissions
from runlab.sweeps.estimates import count_pending, elapsed, remaining
from runlab.sweeps.run_status import RunReader, RunStatus
from runlab.text import aligned, plural, shortened, width, wrapped

SHOWN_STATUSES = (
    *("finished", "diverged", "collapsed", "failed", "running", "interrupted", "unreadable"),
)
"""In this order; then those that this release does not know."""

AT_MOST = 10
"""Lines of running runs that are shown."""

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

    @property
    def total(self) -> int:
        """With those that have no folder yet."""
        return len(self.runs) + self.not_started

    @property
    def ended(self) -> int:
        """How many are neither trained nor left for the same command; failed ones count."""
        return sum(run.status not in OPEN_STATUSES for run in self.runs)

    @property
    def jobs(self) -> list[str]:
        """Its jobs in SLURM that wait or run."""
        return living_jobs(self.sweep)

    def with_status(self, *statuses: str) -> list[RunStatus]:
        return [run for run in self.runs if run.status in statuses]

    def line(self, columns: int) -> str:
        """In one line: `118/300 · 2 stacks, epoch 2/3 · best val 97.4% mse lr 0.2 · 2 min left`.

        What matters least is left out, then shortened, where there are fewer columns.
        """
        return _line(self, columns)

    def terminal(self) -> str:
        sections = [
            [self.line(console.columns())],
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
    if not (runs := reader.read()):
        submitted = {tuple(run) for each in read_submissions(reader.sweep) for run in each.runs}
        not_started, waiting, at_most = len(submitted), 0, False
    else:
        not_started, waiting, at_most = count_pending(runs)
    return SweepStatus(
        sweep=reader.sweep,
        now=time,
        runs=runs,
        not_started=not_started,
        at_most=at_most,
        elapsed=elapsed(runs, time),
        remaining=remaining(runs, not_started + waiting, time),
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


def _line(status: SweepStatus, columns: int) -> str:
    total = f"{'≤' * status.at_most}{status.total}"
    others = [
        f"{len(status.with_status(name))} {name}"
        for name in ("diverged", "collapsed", "failed", "interrupted")
        if status.with_status(name)
    ]
    counts = f" ({', '.join(others)})" if others else ""
    parts = [f"{status.ended}/{total}{counts}", _in_training(status), _best(status), _left(status)]
    short = [f"{status.ended}/{total}", *parts[1:]]
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
    if status.elapsed is None:
        return ""
    took = rough(status.elapsed)
    return f"{took} so far" if status.with_status("running") else f"after {took}"


def rough(seconds: float) -> str:
    """`50 s`, `2 min`, `2 h 5 min`: as exact as an estimate is."""
    return duration(seconds if seconds < 90 else 60 * round(seconds / 60))


def _headline(status: SweepStatus) -> str:
    bound = "at most " if status.at_most else ""
    text = f"{status.sweep}: {status.ended} of {bound}{plural(status.total, 'run')} ended"
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
    """A line for each run, or for each stack whose runs are in one epoch."""
    alike = defaultdict(list)
    for run in sorted(status.with_status("running"), key=lambda run: run.latest_start or 0.0):
        alike[run.name if run.process is None else run.process, run.epochs].append(run)
    if not alike:
        return []
    rows = [["running", "epoch", "elapsed"]]
    for first, *others in list(alike.values())[:AT_MOST]:
        elapsed = first.elapsed(status.now)
        more = f" and {len(others)} more" if others else ""
        took = "" if elapsed is None else duration(elapsed)
        rows.append([f"{first.label or first.name}{more}", _epoch(first), took])
    free = console.columns() - sum(
        max(map(width, c)) + 2 for c in list(zip(*rows, strict=True))[1:]
    )
    header, *body = [[shortened(name, free), *others] for name, *others in rows]
    return [*aligned(header, body), *_rest(sum(map(len, list(alike.values())[AT_MOST:])))]


def _rest(count: int) -> list[str]:
    return [f"… and {plural(count, 'more run')}"] if count else []


def _epoch(run: RunStatus) -> str:
    if run.max_epochs is None:
        return str(run.epochs + 1)
    return f"{min(run.epochs + 1, run.max_epochs)} of {run.max_epochs}"


def _problems(title: str, runs: Sequence[RunStatus]) -> list[str]:
    """Each problem once, with a run that has it and how many others have."""
    alike = defaultdict(list)
    for run in runs:
        alike[run.problem.replace(run.name, "…")].append(run)
    lines = []
    for first, *others in alike.values():
        more = f" (and {plural(len(others), 'more run')})" if others else ""
        lines += wrapped(f"{first.name}: {first.problem}{more}", bullet="- ")
    style = console.FAILURE
    return [console.painted(line, style) for line in (title, *lines)] if lines else []


def _advice(status: SweepStatus) -> list[str]:
    if jobs := status.jobs:
        return [f"SLURM jobs that wait or run: {abbreviated(jobs)}"]
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
