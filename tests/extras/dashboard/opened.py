"""The dashboard as a user opens it, in a process of its own."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.commands import Commands, Process
from tests.runs.kill import wait_until

SCRIPT = "scripts/dashboard.py"


@contextmanager
def opened(
    commands: Commands, *sweeps: str, home: Path
) -> Iterator[tuple[Process, dict[str, str]]]:
    """The dashboard once it has printed its links, and these by what they show."""
    process = commands.start(home, SCRIPT, *sweeps, "--port", "0", "--no-browser")
    try:
        wait_until(lambda: "Ctrl-C ends it." in process.output.read_text())
        *lines, _ = process.output.read_text().splitlines()
        yield (
            process,
            {name: link.strip() for name, _, link in (line.partition(": ") for line in lines)},
        )
    finally:
        process.end()
