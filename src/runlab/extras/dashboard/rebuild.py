"""A sweep's comparison and its aggregates, written by one process at a time."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock

from runlab import atomic
from runlab.analysis import Comparison, compare
from runlab.extras.dashboard.aggregates import OUTCOMES, aggregates_folder, write_aggregates
from runlab.extras.dashboard.sweeps import Outcomes
from runlab.runs import record

LOCK = ".comparison.lock"


def rebuild(
    sweep: Path,
    margin: float | None = None,
    show: Callable[[Comparison], None] = lambda comparison: None,
) -> Comparison:
    """Writes both of the records as they are now; one that began earlier never ends later.

    `show` is called with the comparison once it is written, whatever becomes of the aggregates.

    Raises:
        ValueError: if there is nothing to compare, or either can't be written.
    """
    record.folders(sweep)  # so that the lock makes no folder
    with locked(sweep):
        outcomes = Outcomes(sweep).look()
        comparison = compare(sweep, margin=margin)
        comparison.write()
        show(comparison)
        folder = write_aggregates(comparison)
        atomic.replace(folder / OUTCOMES, json.dumps(sorted(outcomes)).encode())
    return comparison


@contextmanager
def locked(sweep: Path) -> Iterator[None]:
    lock = FileLock(sweep / LOCK)
    try:
        lock.acquire()
    except OSError as error:
        raise ValueError(
            f"expected to write the comparison into {sweep}, got: {error.strerror}; free the place "
            "or its permissions and run scripts/compare.py again"
        ) from error
    try:
        yield
    finally:
        lock.release()


def rebuilt(sweep: Path) -> frozenset[tuple[str, int]]:
    """The outcomes that the aggregates are of; none where that is not known."""
    try:
        pairs = json.loads((aggregates_folder(sweep) / OUTCOMES).read_text())
        return frozenset((str(run), int(time)) for run, time in pairs)
    except (OSError, ValueError, TypeError):
        return frozenset()
