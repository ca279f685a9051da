"""What SLURM says of its jobs, by commands that need no accounting."""

import getpass
import re
import subprocess
from collections import defaultdict
from collections.abc import Iterable, Sequence

ENDED = (
    *("BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL"),
    *("OUT_OF_MEMORY", "PREEMPTED", "TIMEOUT"),
)
"""States in which a job stays, unless SLURM is just about to queue it again."""

DEFAULT_ARRAY = 1001
"""SLURM's own, where its configuration cannot be read."""


def states() -> dict[str, str] | None:
    """The state of each of the user's jobs that SLURM has not forgotten: `{"17_0": "RUNNING"}`.

    None if SLURM does not answer just now, which says nothing about the jobs.
    """
    user = getpass.getuser()
    lines = output(
        "squeue", "--noheader", "--array", "--states=all", f"--user={user}", "-o", "%i %T"
    )
    return None if lines is None else read_states(lines)


def read_states(lines: str) -> dict[str, str]:
    """Of what squeue prints; of a job that leaves just then it may print no state."""
    return dict(line.split(maxsplit=1) for line in lines.splitlines() if " " in line.strip())


def is_living(state: str | None) -> bool:
    """None is the state of a job that SLURM has forgotten, some minutes after its end."""
    return state is not None and state not in ENDED


def largest_array() -> int:
    """How many jobs one array may have here."""
    found = re.search(r"MaxArraySize\s*=\s*(\d+)", output("scontrol", "show", "config") or "")
    return int(found[1]) if found else DEFAULT_ARRAY


def cancel(ids: Sequence[str]) -> None:
    output("scancel", *ids)


def output(*command: str) -> str | None:
    """What it prints; None if it fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout


def abbreviated(ids: Iterable[str]) -> str:
    """`17_[0-5,7] 18`: as scancel and squeue take them."""
    indices: dict[str, list[int]] = defaultdict(list)
    for each in ids:
        array, _, index = each.partition("_")
        indices[array] += [int(index)] if index else []
    return " ".join(
        f"{array}_[{','.join(ranges(sorted(own)))}]" if own else array
        for array, own in indices.items()
    )


def ranges(numbers: Sequence[int]) -> list[str]:
    """`0-5`, `7` of sorted numbers."""
    found: list[list[int]] = []
    for each in numbers:
        if found and each == found[-1][-1] + 1:
            found[-1].append(each)
        else:
            found.append([each])
    return [str(own[0]) if len(own) == 1 else f"{own[0]}-{own[-1]}" for own in found]
