"""The dashboard as a user opens it, in a process of its own."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.compose import ROOT

SCRIPT = str(ROOT / "scripts" / "dashboard.py")


@contextmanager
def opened(*sweeps: str, home: Path) -> Iterator[tuple[subprocess.Popen[str], dict[str, str]]]:
    """The dashboard once it has printed its links, and these by what they show."""
    command = [sys.executable, SCRIPT, *sweeps, "--port", "0", "--no-browser"]
    with subprocess.Popen(command, cwd=home, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            lines = iter(process.stdout.readline, "Ctrl-C ends it.\n")
            yield process, dict(line.strip().split(": ", 1) for line in lines)
        finally:
            process.kill()
