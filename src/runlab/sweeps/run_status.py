"""What the records of a sweep's runs say, read again only where something has changed."""

import math
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from runlab.launchers.submissions import read_submissions
from runlab.measure import Measure
from runlab.runs import alike, lock, record
from runlab.text import printable


class Score(NamedTuple):
    """A value in its measure's unit; `text` has it with that, as in `97.43%`."""

    value: float
    higher_is_better: bool
    text: str


@dataclass(frozen=True)
class RunStatus:
    """What a run's record says; None where it does not. Times are in Unix seconds.

    Attributes:
        label: what tells it from the others, to be read.
        problem: why it failed or was interrupted, or why its record can't be read.
        sweep_index: its number in the command that launched it, and how many runs that launched.
        started: when its first process began with it; latest_start: when its present or last one.
        seconds: of training, in all, when the record was last written.
        process: which one trains it, on which machine: runs that train together share it.
        score: of its primary measure on validation data, once it has ended.
    """

    name: str
    status: str
    label: str = ""
    problem: str = ""
    sweep_index: tuple[int, int] | None = None
    epochs: int = 0
    max_epochs: int | None = None
    started: float | None = None
    latest_start: float | None = None
    seconds: float | None = None
    process: str | None = None
    score: Score | None = None

    def elapsed(self, now: float) -> float | None:
        """Seconds of training; at most an epoch too few for a run that went on from a checkpoint.

        A clock that was set back makes it too short, never negative.
        """
        if self.latest_start is None:
            return self.seconds
        return max(0.0, self.seconds or 0.0, now - self.latest_start)

    def end(self) -> float | None:
        """When it ended or stopped; of a resumed run, the earliest that can have been."""
        if self.started is None or self.latest_start is None:
            return self.latest_start
        return max(self.latest_start, self.started + (self.seconds or 0.0))


class RunReader:
    """Reads the runs of a sweep, as often as it is asked: records that are as they were only once.

    Whether a run is being trained is asked of its lock each time.
    """

    def __init__(self, sweep: Path) -> None:
        self.sweep = sweep
        self.known: dict[Path, tuple[Any, RunStatus]] = {}

    def read(self) -> list[RunStatus]:
        """Raises ValueError where there are no runs, nor any that jobs of SLURM are to train."""
        try:
            folders = record.folders(self.sweep)
        except ValueError:
            if not read_submissions(self.sweep):
                raise
            folders = []
        return [self.status(folder) for folder in folders]

    def status(self, folder: Path) -> RunStatus:
        stamp = file_stamp(folder / "run.json")
        before, status = self.known.get(folder, (None, None))
        if status is None or stamp is None or stamp != before:
            status = read_status(folder)
            self.known[folder] = stamp, status
        if status.status != "running" or is_training(folder):
            return status
        if file_stamp(folder / "run.json") != stamp:  # it may have ended since it was read
            return self.status(folder)
        return replace(status, status="interrupted")


def file_stamp(path: Path) -> tuple[int, int, int] | None:
    """Another one for each content that has been in its place."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


def read_status(folder: Path) -> RunStatus:
    """As its record has it: `running` also where the process has died since."""
    try:
        entry = alike.read(folder)
    except ValueError as error:
        return RunStatus(folder.name, "unreadable", problem=str(error))
    timing, index = record.nested_dict(entry, "timing"), record.nested_dict(entry, "sweep_index")
    number, of = _integer(index.get("number")), _integer(index.get("of"))
    started = _unix_time(timing.get("started"))
    return RunStatus(
        name=folder.name,
        status=entry["status"],
        label=printable(str(entry.get("label") or folder.name)),
        problem=str(entry.get("error") or "no reason was recorded"),
        sweep_index=None if number is None or of is None else (number, of),
        epochs=_integer(record.nested_dict(entry, "metrics").get("epochs")) or 0,
        max_epochs=_integer(record.nested_dict(entry, "config", "trainer").get("max_epochs")),
        started=started,
        latest_start=_unix_time(timing.get("latest")) or started,
        seconds=_finite(timing.get("seconds")),
        process=_process(timing),
        score=_score(entry) if entry["status"] in record.ENDED else None,
    )


def is_training(folder: Path) -> bool:
    try:
        return lock.is_held(folder)
    except OSError:  # another user's run: its lock can't be opened, its record is believed
        return True


def _score(entry: dict[str, Any]) -> Score | None:
    if not entry["measures"]:
        return None
    measure = Measure.from_record(entry["measures"][0])
    value = _finite(entry["metrics"].get(f"val/{measure.name}"))
    if value is None:
        return None
    return Score(measure.scale * value, measure.higher_is_better, measure.text(value))


def _process(timing: dict[str, Any]) -> str | None:
    number = timing.get("process")
    return None if number is None else f"{number} {timing.get('host') or ''}"


def _finite(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def _integer(value: Any) -> int | None:
    number = _finite(value)
    return None if number is None else int(number)


def _unix_time(value: Any) -> float | None:
    try:
        return record.local_time(value).timestamp()
    except (TypeError, ValueError, OverflowError):
        return None
