"""What a sweep no longer needs on disk: partial runs, and checkpoints that no comparison chose."""

import shutil
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from runlab import program
from runlab.analysis.outcomes import current_outcomes, read_conclusion
from runlab.analysis.rebuild import comparison_lock
from runlab.runs import lock, record
from runlab.sweeps.run_status import RunReader
from runlab.sweeps.summary import files_in
from runlab.text import plural

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
        remove: a function of the folder; returns why not where the run is no longer so.
    """

    folder: Path
    what: str
    size: int
    remove: Callable[[Path], str]

    @property
    def run(self) -> str:
        return self.folder.name


Found = tuple[list[Removal], list[str]]
"""What can be removed; and what is left alone, with the reason."""

Find = Callable[[Path], Found]


# Partial runs


def partial_runs(sweep: Path) -> Found:
    """The runs that have no outcome and that no process trains."""
    removals, left = [], []
    for folder in record.launched_folders(sweep):
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
            removals.append(Removal(folder, status, size, remove_run))
    return removals, left


def require_sweep(folder: Path) -> None:
    """Raises ValueError unless runs were launched into it."""
    if not record.launched_folders(folder):
        raise record.no_runs(folder)


def _partial_status(folder: Path) -> str | None:
    """None for a run with an outcome, or with one that this release does not know."""
    if not record.is_run(folder):
        return "never began"
    try:
        status = record.read(folder)["status"]
    except ValueError:
        return UNREADABLE
    return "interrupted" if status == "running" else status if status in PARTIAL else None


def remove_run(folder: Path) -> str:
    """Moves it aside; returns why not where it is not partial any more."""
    with lock.run_lock(folder) as is_ours:
        if not is_ours:
            return "a process trains it"
        if _partial_status(folder) in (None, UNREADABLE):
            return "it has ended since"
        trash = folder.parent / REMOVED
        trash.mkdir(exist_ok=True)
        folder.rename(trash / folder.name)  # at once, so that no half of a run stays
    return ""


# Checkpoints


def spare_checkpoints(sweep: Path) -> Found:
    """Checkpoints of runs that have ended and that no comparison chose.

    Raises:
        ValueError: if it is not known what was chosen, or other runs may come to be.
    """
    _require_closed(sweep)
    chosen, removals, left = chosen_runs(sweep), [], []
    for folder in record.launched_folders(sweep):
        if folder.name in chosen or not _has_ended(folder):
            continue
        files = _checkpoints(folder)
        if folder.is_symlink():
            left.append(f"{folder.name}: a link, whose folder is not followed")
        elif files and lock.is_held(folder):
            left.append(f"{folder.name}: a process trains it")
        elif files:
            what = plural(len(files), "checkpoint")
            removals.append(Removal(folder, what, sum(files.values()), remove_checkpoints))
    return removals, left


def _require_closed(sweep: Path) -> None:
    """Raises ValueError while runs are yet to end: with them others may be chosen."""
    runs = RunReader(sweep).read()
    counts = Counter(run.status for run in runs)
    counts["never begun"] = len(record.launched_folders(sweep)) - len(runs)
    found = [each for each in ("running", "interrupted", "never begun") if counts[each]]
    if found:
        raise ValueError(
            f"expected all runs of {sweep} to have ended, got "
            f"{', '.join(f'{counts[each]} {each}' for each in found)}, which may change whose "
            "checkpoints to keep: train them to their end first, or remove them by "
            f"{program.command('clean', str(sweep), '--partial')}"
        )


def chosen_runs(sweep: Path) -> set[str]:
    """The runs at the chosen learning rates, of all comparisons of this sweep."""
    ended, compare = current_outcomes(sweep), program.command("compare", str(sweep))
    chosen: set[str] = set()
    folders = [path for path in sweep.glob("comparison*") if (path / "comparison.md").exists()]
    for folder in folders:
        conclusion = read_conclusion(folder)
        if conclusion is None or conclusion.ended != ended:
            raise ValueError(
                f"expected a comparison of the {plural(len(ended), 'run')} that have ended, got an "
                f"earlier one in {folder}: write it again by {compare}{_metric_option(folder)}"
            )
        chosen.update(conclusion.chosen)
    if not folders:
        raise ValueError(
            f"expected a comparison of {sweep}, which says whose checkpoints to keep, got none: "
            f"write one by {compare}"
        )
    return chosen


def _metric_option(comparison: Path) -> str:
    _, _, measure = comparison.name.partition("_")
    return f" --metric {program.quoted(measure)}" if measure else ""


def _has_ended(folder: Path) -> bool:
    try:
        return record.read(folder)["status"] in record.ENDED
    except ValueError:
        return False


def _checkpoints(folder: Path) -> dict[Path, int]:
    """And their bytes."""
    return {path: size for path, size in files_in(folder) if path.suffix == ".ckpt"}


def remove_checkpoints(folder: Path) -> str:
    """Removes them and records it; returns why not where the run has not ended any more."""
    with lock.run_lock(folder) as is_ours:
        if not is_ours:
            return "a process trains it"
        if not _has_ended(folder):
            return "it is trained again"
        now = datetime.now(UTC).isoformat(timespec="seconds")
        # first, so that no record claims what a killed process has removed
        record.write(folder, record.read(folder) | {record.CHECKPOINTS_REMOVED: now})
        for path in _checkpoints(folder):
            path.unlink(missing_ok=True)
    return ""


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
            if problem := removal.remove(removal.folder):
                left.append(f"{removal.run}: {problem}")
            else:
                done.append(removal)
        _delete_removed(sweep)
    return done, left


def _delete_removed(sweep: Path) -> None:
    if (trash := sweep / REMOVED).is_dir() and not trash.is_symlink():
        shutil.rmtree(trash)
