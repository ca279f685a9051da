"""Sweeps in processes that die at a moment of our choosing."""

import os
import re
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tests.commands import ROOT, Commands

CHANGES = {"open", "os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.truncate"}
LONGEST = 120.0  # seconds
KILLED = {-signal.SIGKILL, -signal.SIGXFSZ, -signal.SIGALRM}


@dataclass(frozen=True)
class Kill:
    """When a process dies: at a change that it makes to its files, or after some time.

    Attributes:
        at: the number, from 1, of the change before which it dies; 0 for none.
        of: only changes that match this expression are counted, such as `os.rename .*run.json`.
        size: it makes the change, and dies once a file that it writes to has this many bytes.
        after: seconds, whatever it does then; 0 for the longest that a sweep may last.
    """

    at: int = 0
    of: str = ""
    size: int | None = None
    after: float = 0.0


@dataclass(frozen=True)
class Launch:
    """How a process ended: its exit code (negative: the signal), its output, its changes."""

    arguments: list[str]
    seconds: float
    code: int
    output: str
    changes: list[str]

    @property
    def killed(self) -> bool:
        return self.code in KILLED


def launch(
    commands: Commands, folder: Path, arguments: Sequence[str], kill: Kill | None = None
) -> Launch:
    """What `python scripts/train.py` with these arguments does in this folder."""
    started = time.monotonic()
    output, changes = folder / "output.txt", folder / "changes.txt"
    output.unlink(missing_ok=True)
    kill = kill or Kill()
    process = commands.start(
        folder, "scripts/train.py", *arguments, output=output, kill=asdict(kill)
    )
    code, seconds = process.wait(LONGEST + 10), time.monotonic() - started
    return Launch([*arguments], seconds, code, output.read_text(), changes.read_text().splitlines())


def start(folder: Path, arguments: Sequence[str]) -> subprocess.Popen[bytes]:
    """The script itself, in a session of its own; what it prints is appended to `output.txt`."""
    command = [sys.executable, str(ROOT / "scripts" / "train.py"), *arguments]
    with (folder / "output.txt").open("ab") as output:
        return subprocess.Popen(
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def end(process: subprocess.Popen[bytes]) -> None:
    """Kills the process and all that it started, at once."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(timeout=30)


def wait_until(happened: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline, f"nothing within {seconds} s"
        time.sleep(0.02)


def die_at(kill: Kill, folder: Path) -> None:
    """Writes down each change to a file under the folder before it is made, and dies at one."""
    changes = os.open("changes.txt", os.O_CREAT | os.O_TRUNC | os.O_WRONLY)
    count = 0

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal count
        if event not in CHANGES or isinstance(arguments[0], int):
            return
        path = os.path.abspath(os.fsdecode(arguments[0]))
        reads = event == "open" and not arguments[2] & (os.O_WRONLY | os.O_RDWR)
        if reads or not path.startswith(str(folder)):
            return
        change = f"{event} {os.path.relpath(path, folder)}"
        os.write(changes, f"{change}\n".encode())
        if re.search(kill.of, change):
            count += 1
            if count == kill.at:
                die(kill.size)

    sys.addaudithook(watch)
    signal.setitimer(signal.ITIMER_REAL, kill.after or LONGEST)


def die(size: int | None) -> None:
    if size is None:
        os.kill(os.getpid(), signal.SIGKILL)
    else:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)  # Python ignores it
