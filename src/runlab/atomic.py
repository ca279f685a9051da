"""Replacing a file at once, so that no reader and no crash ever sees half of it."""

import os
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path

PARTIAL = ".partial"


def replace(path: Path, content: bytes | memoryview) -> None:
    """Writes the file beside its place and, once it is on the disk, moves it there.

    Raises:
        OSError: with the file's name; what was there is untouched.
    """
    replace_all([(path, [content])])


def replace_all(files: Iterable[tuple[Path, Iterable[bytes | memoryview] | None]]) -> None:
    """All are on the disk, beside their places, before the first is moved; None removes a file.

    Args:
        files: with their contents in parts, of which one at a time is in memory.

    Raises:
        OSError: with the file's name.
    """
    with ExitStack() as stack:
        made: list[tuple[Path, Path | None]] = []
        for path, content in files:
            partial = None if content is None else _partial(path)
            if partial is not None and content is not None:
                stack.callback(partial.unlink, missing_ok=True)
                _write(partial, content, path)
            made.append((path, partial))
        for path, partial in made:
            _move(partial, path)


def _partial(path: Path) -> Path:
    return path.with_name(f".{path.name}.{os.getpid()}{PARTIAL}")


def _write(partial: Path, content: Iterable[bytes | memoryview], path: Path) -> None:
    try:
        with partial.open("wb") as file:
            file.writelines(content)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error


def _move(partial: Path | None, path: Path) -> None:
    try:
        if partial is None:
            path.unlink(missing_ok=True)
        else:
            partial.replace(path)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error


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
