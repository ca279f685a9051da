"""One line that says how far a sweep is: drawn again and again on a terminal, else now and then."""

import logging
import os
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from runlab import console
from runlab.sweeps.run_status import RunReader, RunStatus
from runlab.sweeps.status import SweepStatus, sweep_status

log = logging.getLogger(__name__)

EVERY, EVERY_PLAIN = 1.0, 30.0
"""Seconds between two lines: on a terminal, and elsewhere."""

EVERY_FAILURE = 5.0
"""Seconds between two looks for runs that have failed, where they are told."""

PATIENCE = 10.0
"""Seconds without a run in training, after which `watch` ends: between two there are some."""

SHARE = 0.02
"""Of the processor time of one core, at most that part is spent on how far the runs are."""


class LiveLine:
    """Draws the line in a thread of its own, while runs train in this process or in others.

    Its source is the sweep's folder alone, as that of `status`. It is drawn on standard error if
    that is a terminal, and printed on standard output otherwise.

    Args:
        tells_failures: whether runs that fail are told, too: those that are trained elsewhere can
            say so in a log file alone.
    """

    def __init__(self, sweep: Path, tells_failures: bool = False) -> None:
        self.reader = RunReader(sweep)
        self.failures = Failures() if tells_failures else None
        self.latest: SweepStatus | None = None
        self.is_drawn = console.is_terminal(sys.stderr)
        self.started = time.perf_counter()
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self.run, name="live line", daemon=True)

    def __enter__(self) -> "LiveLine":
        if self.is_drawn:
            os.environ[console.LIVE] = "1"
        if self.failures is not None:
            self.failures.new(self.runs())  # those of earlier commands were told by them
        self.thread.start()
        return self

    def __exit__(self, *raised: object) -> None:
        self.ended.set()
        self.thread.join()
        os.environ.pop(console.LIVE, None)
        self.tell_failures(self.runs())

    def run(self) -> None:
        every = EVERY if self.is_drawn else EVERY_PLAIN
        say = self.draw if self.is_drawn else self.print
        look = min(every, EVERY_FAILURE) if self.failures is not None else every
        pause, said = look, time.monotonic()
        while not self.ended.wait(pause):
            started = time.thread_time()
            text = self.text()
            pause = max(look, (time.thread_time() - started) / SHARE)
            if time.monotonic() < said + every:
                continue
            said = time.monotonic()
            try:
                say(text)
            except (OSError, ValueError):  # the terminal is gone, or the stream closed
                return
        with suppress(OSError, ValueError):
            say("")

    def text(self) -> str:
        """On a terminal a clock is before it, which moves also while an epoch takes long."""
        if not self.is_drawn:
            return self.status(console.columns())
        clock = clock_of(time.perf_counter() - self.started)
        width = console.columns(sys.stderr) - 1
        text = f"{clock} · {self.status(width - len(f'{clock} · ')) or 'starting …'}"
        # a line that wraps can't be drawn again in its place
        return text[: min(width, console.terminal_columns(sys.stderr) - 1)]

    def status(self, columns: int) -> str:
        """Empty before a run has begun; the latest one where the folder cannot be read just now."""
        with suppress(ValueError, OSError):
            self.latest = sweep_status(self.reader)
            self.tell_failures(self.latest.runs)
        return "" if self.latest is None else self.latest.line(columns)

    def runs(self) -> list[RunStatus]:
        with suppress(ValueError, OSError):
            return self.reader.read() if self.failures is not None else []
        return []

    def tell_failures(self, runs: Sequence[RunStatus]) -> None:
        for sentence in self.failures.new(runs) if self.failures is not None else []:
            log.error("%s", sentence)

    def draw(self, text: str) -> None:
        """In place of what is drawn there; whatever is written next takes its place."""
        sys.stderr.write(f"{console.ERASE}{text}")
        sys.stderr.flush()

    def print(self, text: str) -> None:
        if text:
            print(text, flush=True)


class Failures:
    """Which runs have failed since it was asked last; what several failed of is told once."""

    def __init__(self) -> None:
        self.known: set[tuple[str, float | None]] = set()
        self.told: set[str] = set()

    def new(self, runs: Sequence[RunStatus]) -> list[str]:
        sentences = []
        for run in runs:
            if run.status != "failed" or (run.name, run.latest_start) in self.known:
                continue
            self.known.add((run.name, run.latest_start))
            if (alike := run.problem.replace(run.name, "…")) not in self.told:
                self.told.add(alike)
                sentences.append(f"{run.name}: failed: {run.problem}")
        return sentences


def clock_of(seconds: float) -> str:
    """`0:42`, `12:03`, `1:02:03`."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def wait_for_runs(reader: RunReader) -> None:
    """For a command that has just been launched; returns after some seconds also without any."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        with suppress(ValueError):
            reader.read()
            return
        time.sleep(0.2)


def watch(sweep: Path, every: float) -> None:
    """Shows how far a sweep is until nothing is being trained: on a terminal in one place.

    Raises:
        ValueError: where there are no runs.
    """
    reader, shown = RunReader(sweep), 0
    wait_for_runs(reader)
    is_drawn = console.is_terminal(sys.stdout)
    seen = time.monotonic() - PATIENCE  # when a run was trained last
    while True:
        status = sweep_status(reader)
        if status.with_status("running"):
            seen = time.monotonic()
        is_over = time.monotonic() - seen >= PATIENCE and not status.jobs
        if is_drawn:
            lines = status.terminal().split("\n")
            rows = len(lines) if is_over else min(len(lines), console.rows() - 1)
            up = f"\x1b[{shown}A\r\x1b[J" if shown else ""
            print(up + "\n".join(lines[:rows]), flush=True)
            shown = rows
        elif is_over:
            print(status.terminal(), flush=True)
        else:
            print(status.line(console.columns()), flush=True)
        if is_over:
            return
        time.sleep(every)
