"""Replacing a file at once, so that no reader and no crash ever sees half of it."""

import os
from pathlib import Path

PARTIAL = ".partial"


def replace(path: Path, content: bytes | memoryview) -> None:
    """Writes the file beside its place and, once it is on the disk, moves it there.

    Raises:
        OSError: with the file's name; what was there is untouched.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}{PARTIAL}")
    try:
        with partial.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        partial.unlink(missing_ok=True)


def link(path: Path, other: Path) -> None:
    """Makes the other file a second name of this one; it stays as it is where there are no links.

    Each goes on by itself once either is replaced.
    """
    partial = other.with_name(f".{other.name}.{os.getpid()}{PARTIAL}")
    try:
        os.link(path, partial)
        partial.replace(other)
    except OSError:
        return
    finally:
        partial.unlink(missing_ok=True)


def clean(folder: Path) -> None:
    """Removes what writers that were killed left in a folder that nobody else writes to."""
    for partial in folder.rglob(f".*{PARTIAL}"):
        partial.unlink(missing_ok=True)
