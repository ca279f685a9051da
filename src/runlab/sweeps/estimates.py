"""How many runs a sweep has yet to train, how long it has taken, and how long it may take."""

from collections.abc import Sequence
from statistics import median

from runlab.runs import record
from runlab.sweeps.run_status import RunStatus


def count_pending(runs: Sequence[RunStatus]) -> tuple[int, int, bool]:
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


def elapsed(runs: Sequence[RunStatus], now: float) -> float | None:
    starts = [run.started for run in runs if run.started is not None]
    ends = [end for run in runs if (end := run.end()) is not None]
    if not starts:
        return None
    is_running = any(run.status == "running" for run in runs)
    return max(0.0, (now if is_running else max(ends)) - min(starts))


def remaining(runs: Sequence[RunStatus], pending: int, now: float) -> float | None:
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
