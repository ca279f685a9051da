"""What a sweep no longer needs on disk: partial runs, and checkpoints that no comparison chose."""

import os
import shutil
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from runlab import program
from runlab.analysis.conclusion_file import read_conclusion
from runlab.analysis.rebuild import comparison_lock
from runlab.runs import lock, record

PARTIAL = ("interrupted", "failed")
"""Statuses of runs that ended without an outcome; so does `running` where no process trains it."""

UNREADABLE = "unreadable"

REMOVED = ".removed"
"""A folder in the sweep: what is moved there is gone, also if its removal is killed halfway."""


@dataclass(frozen=True)
class Removal:
    """What could be removed of one run.

    Attributes:
        what: the status of a partial run, or how many checkpoints there are.
        size: bytes.
        remove: does it; returns why not where the run is no longer so.
    """

    run: str
    what: str
    size: int
    remove: Callable[[], str]


Found = tuple[list[Removal], list[str]]
"""What can be removed; and what is left alone, with the reason."""

Find = Callable[[Path], Found]


# Partial runs


def partial_runs(sweep: Path) -> Found:
    """The runs that have no outcome and that no process trains."""
    removals, left = [], []
    for folder in run_folders(sweep):
        status = _partial_status(folder)
        if status == UNREADABLE:
            left.append(f"{folder.name}: its record can't be read")
        elif status is None:
            continue
        elif folder.is_symlink():
            left.append(f"{folder.name}: a link, whose folder is not followed")
        elif lock.is_held(folder):
            left.append(f"{folder.name}: a process trains it")
        else:
            size = sum(size for _, size in files_in(folder))
            removals.append(Removal(folder.name, status, size, _removing(folder)))
    return removals, left


def require_sweep(folder: Path) -> None:
    """Raises ValueError unless runs were launched into it."""
    if not folder.is_dir() or not run_folders(folder):
        record.folders(folder)


def run_folders(sweep: Path) -> list[Path]:
    """Those with a record, and those that Hydra has made for a run that never began."""
    return sorted(
        folder
        for folder in sweep.iterdir()
        if folder.is_dir() and (record.is_run(folder) or (folder / ".hydra").is_dir())
    )


def _partial_status(folder: Path) -> str | None:
    """None for a run with an outcome, or with one that this release does not know."""
    if not record.is_run(folder):
        return "never began"
    try:
        status = record.read(folder)["status"]
    except ValueError:
        return UNREADABLE
    return "interrupted" if status == "running" else status if status in PARTIAL else None


def _removing(folder: Path) -> Callable[[], str]:
    def remove() -> str:
        with lock.run_lock(folder) as is_ours:
            if not is_ours:
                return "a process trains it"
            if _partial_status(folder) in (None, UNREADABLE):
                return "it has ended since"
            trash = folder.parent / REMOVED
            trash.mkdir(exist_ok=True)
            folder.rename(trash / folder.name)  # at once, so that no half of a run stays
        return ""

    return remove


# Checkpoints


def spare_checkpoints(sweep: Path) -> Found:
    """Checkpoints of runs that have ended and that no comparison chose.

    Raises:
        ValueError: if it is not known what was chosen, or runs have ended since.
    """
    chosen, removals, left = chosen_runs(sweep), [], []
    for folder in run_folders(sweep):
        if folder.name in chosen or not _has_ended(folder):
            continue
        files = [(path, size) for path, size in files_in(folder) if path.suffix == ".ckpt"]
        if folder.is_symlink():
            left.append(f"{folder.name}: a link, whose folder is not followed")
        elif files and lock.is_held(folder):
            left.append(f"{folder.name}: a process trains it")
        elif files:
            paths, sizes = zip(*files, strict=True)
            what = f"{len(files)} checkpoint{'s' * (len(files) > 1)}"
            removals.append(Removal(folder.name, what, sum(sizes), _stripping(folder, paths)))
    return removals, left


def chosen_runs(sweep: Path) -> set[str]:
    """The runs at the chosen learning rates, of all comparisons of this sweep."""
    ended = sum(entry["status"] in record.ENDED for _, entry in record.readable(sweep))
    chosen: set[str] = set()
    folders = [path for path in sweep.glob("comparison*") if (path / "comparison.md").exists()]
    for folder in folders:
        content = read_conclusion(folder)
        if content is None or content.get("ended") != ended:
            raise ValueError(
                f"expected a comparison of the {ended} runs that have ended, got an earlier one in "
                f"{folder}: write it again by {program.command('compare', str(sweep))}"
            )
        chosen |= {str(run) for run in content["chosen"]}
    if not folders:
        raise ValueError(
            f"expected a comparison of {sweep}, which says whose checkpoints to keep, got none: "
            f"write one by {program.command('compare', str(sweep))}"
        )
    return chosen


def _has_ended(folder: Path) -> bool:
    try:
        return record.read(folder)["status"] in record.ENDED
    except ValueError:
        return False


def _stripping(folder: Path, checkpoints: tuple[Path, ...]) -> Callable[[], str]:
    def remove() -> str:
        with lock.run_lock(folder) as is_ours:
            if not is_ours:
                return "a process trains it"
            if not _has_ended(folder):
                return "it is trained again"
            now = datetime.now(UTC).isoformat(timespec="seconds")
            # first, so that no record claims what a killed process has removed
            record.write(folder, record.read(folder) | {record.CHECKPOINTS_REMOVED: now})
            for path in checkpoints:
                path.unlink(missing_ok=True)
        return ""

    return remove


def files_in(folder: Path) -> Iterator[tuple[Path, int]]:
    """Files and their bytes; neither links nor what lies behind them."""
    for place, _, names in os.walk(folder):
        for path in (Path(place) / name for name in names):
            with suppress(OSError):  # gone since
                if not path.is_symlink():
                    yield path, path.lstat().st_size


# Removing


def remove(sweep: Path, find: Find, runs: Collection[str]) -> Found:
    """Removes what `find` still finds of these runs; returns that, and what is left, and why.

    No comparison is written meanwhile. What was moved aside is deleted, also what a process that
    was killed has left so; links are not followed.

    Raises:
        OSError: if something can't be deleted.
    """
    done, left = [], []
    with comparison_lock(sweep):
        _delete_removed(sweep)
        removals, _ = find(sweep)
        for removal in (each for each in removals if each.run in runs):
            if problem := removal.remove():
                left.append(f"{removal.run}: {problem}")
            else:
                done.append(removal)
        _delete_removed(sweep)
    return done, left


def _delete_removed(sweep: Path) -> None:
    if (trash := sweep / REMOVED).is_dir() and not trash.is_symlink():
        shutil.rmtree(trash)
