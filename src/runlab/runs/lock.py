"""Which process trains a run: a lock on a file in its folder, which ends with its process."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from runlab.runs import record

PATIENCE = 1.0
"""Seconds. `is_held` has the lock for less, and must not look like a process that trains."""


@contextmanager
def run_lock(folder: Path) -> Iterator[bool]:
    """Whether the run is ours to train until the block ends; False if another process has it.

    The operating system frees the lock of a process that died, however it died.
    """
    lock = FileLock(folder / ".lock", timeout=PATIENCE)
    try:
        lock.acquire()
    except Timeout:
        yield False
        return
    try:
        yield True
    finally:
        lock.release()


def is_held(folder: Path) -> bool:
    """Whether a process trains this run now."""
    path = folder / ".lock"
    if not path.exists():
        return False
    try:
        with FileLock(path, blocking=False):
            return False
    except Timeout:
        return True


def wait_until_free(folder: Path) -> None:
    """Returns once no process trains this run."""
    with FileLock(folder / ".lock"):
        pass


def mark_dead_runs(sweep: Path) -> None:
    """Records as interrupted the runs whose process died before it could say so."""
    for folder, seen in record.readable(sweep):
        if seen["status"] == "running":
            # on a full disk `running` stays: without a process that holds it, it means the same
            with suppress(OSError, ValueError):
                mark_if_dead(folder)


def mark_if_dead(folder: Path) -> None:
    if is_held(folder):
        return
    with run_lock(folder) as ours:
        entry = record.read(folder)
        if ours and entry["status"] == "running":
            record.write(folder, entry | {"status": "interrupted"})
