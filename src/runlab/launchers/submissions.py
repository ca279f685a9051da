"""Which runs of a sweep were submitted as which jobs of SLURM, kept in the sweep's folder."""

import json
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from runlab.launchers import slurm

FILE = Path(".submitit") / "submitted.jsonl"

FRESH = 5.0
"""Seconds for which an answer of SLURM is good enough for whoever only looks."""


class Submission(NamedTuple):
    """A job of SLURM, by its number (`17_0` in an array), and the overrides of its runs."""

    id: str
    runs: Sequence[Sequence[str]]


def record_submissions(sweep: Path, submissions: Iterable[Submission]) -> None:
    """One line of JSON a job; lines of earlier commands stay."""
    path = sweep / FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write("\n")  # where a full disk has cut a line off, it ends here
        for job, runs in submissions:
            file.write(json.dumps({"job": job, "runs": [list(run) for run in runs]}) + "\n")


def read_submissions(sweep: Path) -> list[Submission]:
    """The latest first: of runs that were submitted twice the later job is the one that counts.

    A line that a full disk has cut off is left out; then its runs are submitted once more, where
    each finds that another job trains it.
    """
    try:
        lines = (sweep / FILE).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return []
    found = []
    for line in reversed(lines):
        with suppress(ValueError, KeyError, TypeError):
            entry = json.loads(line)
            found.append(Submission(entry["job"], entry["runs"]))
    return found


def living_jobs(sweep: Path) -> list[str]:
    """The numbers of a sweep's jobs that wait or run, as far as SLURM answers."""
    return list(_living_jobs(sweep, int(time.monotonic() / FRESH)))


@lru_cache(1)
def _living_jobs(sweep: Path, moment: int) -> tuple[str, ...]:
    submitted = read_submissions(sweep)
    states = (slurm.states() if submitted else None) or {}
    living = [each.id for each in submitted if slurm.is_living(states.get(each.id))]
    return tuple(reversed(living))
