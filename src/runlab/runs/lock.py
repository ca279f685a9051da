"""Locks on files, which end with their process: of a run that is trained, of what takes turns."""

import errno
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from runlab.runs import alike, record

log = logging.getLogger(__name__)

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


@contextmanager
def take_turns(path: Path, what: str, limit: float = 600.0) -> Iterator[None]:
    """Holds a lock that each process needs for moments, and waits for it as long as another does.

    Args:
        what: is done under the lock, for the sentence that says what is waited for.
        limit: seconds.

    Raises:
        TimeoutError: if another process holds it for longer.
    """
    lock, owner = FileLock(path), path.with_name(f"{path.name}.pid")
    try:
        lock.acquire(timeout=min(PATIENCE, limit))
    except Timeout:
        log.warning("waiting for %s to %s (%s)", holder(owner), what, path)
        try:
            lock.acquire(timeout=limit)
        except Timeout:
            reason = (
                f"{holder(owner)} has held it for {limit:.0f} s to {what}: let it go on or end it, "
                "and then run this again"
            )
            raise TimeoutError(errno.ETIMEDOUT, reason, str(path)) from None
    try:
        with suppress(OSError):  # a full disk: nobody is told who holds it
            owner.write_text(str(os.getpid()), encoding="utf-8")
        yield
    finally:
        with suppress(OSError):
            owner.unlink(missing_ok=True)
        lock.release()


def holder(owner: Path) -> str:
    """Which process wrote this file; a lock's own file is emptied by each that asks for it."""
    try:
        return f"process {int(owner.read_text(encoding='utf-8'))}"
    except (OSError, ValueError):
        return "another process"


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
    for folder, seen in alike.readable(sweep):
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
