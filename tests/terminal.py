"""Commands on a pseudo-terminal, and what a reader then sees on it."""

import os
import pty
import re
import subprocess
import sys
import termios
from collections.abc import Mapping
from pathlib import Path

from tests.commands import ROOT


def on_terminal(
    columns: int,
    rows: int,
    *command: str,
    folder: Path = ROOT,
    environment: Mapping[str, str] | None = None,
) -> str:
    """What `python` with these arguments draws on a terminal of this size."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (rows, columns))
    process = subprocess.Popen(
        [sys.executable, str(ROOT / command[0]), *command[1:]], cwd=folder,
        stdin=theirs, stdout=theirs, stderr=theirs,
        env={**os.environ, "TERM": "xterm", **(environment or {})},
    )  # fmt: skip
    os.close(theirs)
    drawn = b""
    try:
        while part := os.read(ours, 65536):
            drawn += part
    except OSError:  # Linux says so where the last writer has gone
        pass
    finally:
        os.close(ours)
    process.wait(60)
    return drawn.decode().replace("\r\n", "\n")


def seen(drawn: str) -> list[str]:
    """The lines that are left in the end: none of what was erased, without colours."""
    plain = re.sub(r"\x1b\[[\d;]*m", "", drawn)
    return [line.split("\r\x1b[K")[-1] for line in plain.split("\n")]
