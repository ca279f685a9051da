"""Standard streams that take whatever is printed, be they closed, not UTF-8 or without reader."""

import codecs
import errno
import io
import logging
import os
import stat
import sys
from typing import Any

from runlab import console

ERRORS = "runlab.ascii"
INSTEAD = {
    "±": "+-", "≤": "<=", "≥": ">=", "≈": "~", "≠": "!=", "×": "x", "·": "*", "−": "-", "–": "-",
    "—": "-", "…": "...", "→": "->", "µ": "u", "²": "^2", "“": '"', "”": '"', "‘": "'", "’": "'",
    "█": "#",
}  # fmt: skip
"""What is printed where the encoding has no such character; others are printed by their number."""


def prepare() -> None:
    """Has the standard streams of this process take whatever is printed, for as long as it runs.

    A closed descriptor leads to the null device from now on, so that no file that is opened later
    gets its number. A character that the encoding lacks is printed in ASCII. What is printed after
    the reader has gone is dropped, and the work goes on. It may be called again.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            open_null(number, name)
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        # a test or a notebook has put something else there, which takes everything
        if type(stream) is io.TextIOWrapper:
            setattr(sys, name, forgiving(stream))
            for handler in logging.root.handlers:  # a launcher's process has some already
                if isinstance(handler, logging.StreamHandler) and handler.stream is stream:
                    handler.setStream(getattr(sys, name))
    logging.raiseExceptions = False  # a full disk is told once, not for each line of a log file


def open_null(number: int, name: str) -> None:
    mode = "r" if number == 0 else "w"
    stream = open(os.devnull, mode, encoding="utf-8")  # noqa: SIM115  for as long as Python runs
    try:
        os.fstat(number)
    except OSError:
        os.dup2(stream.fileno(), number)  # processes that are started inherit it
    setattr(sys, name, stream)
    setattr(sys, f"__{name}__", stream)


def forgiving(stream: io.TextIOWrapper) -> io.TextIOWrapper:
    """The same stream with our rules; others that hold the old one may go on with it."""
    raw = getattr(stream.buffer, "raw", stream.buffer)  # with PYTHONUNBUFFERED there is no buffer
    if type(raw) is not io.FileIO:  # ours, a console of Windows, memory
        stream.reconfigure(errors=ERRORS)
        return stream
    stream.flush()
    output = Output(stream.fileno(), "w", closefd=False)
    return io.TextIOWrapper(
        output if raw is stream.buffer else io.BufferedWriter(output),
        stream.encoding,
        ERRORS,
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )


class Output(io.FileIO):
    """A file whose reader may go away: what is written after that is dropped.

    On a terminal on which a line is drawn, what is written takes its place.
    """

    begins_line = True

    def write(self, content: Any) -> int:
        erase = b""
        if console.LIVE in os.environ and self.isatty():
            is_drawn = content[:1] == b"\r"
            if self.begins_line and not is_drawn:
                erase = console.ERASE.encode()
            self.begins_line = is_drawn or content[-1:] == b"\n"
        try:
            return max((super().write(erase + content)) - len(erase), 0)
        except OSError as error:
            # a pipe without a reader, a terminal that was closed
            is_terminal = stat.S_ISCHR(os.fstat(self.fileno()).st_mode)
            if error.errno != errno.EPIPE and not (error.errno == errno.EIO and is_terminal):
                raise
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, self.fileno())
            os.close(null)
            return memoryview(content).nbytes


def in_ascii(error: UnicodeError) -> tuple[str, int]:
    """What is printed for characters that an encoding lacks, as `codecs` has its error handlers."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end]
    return "".join(INSTEAD.get(each, escaped(each)) for each in lacking), error.end


def escaped(character: str) -> str:
    return character.encode("ascii", "backslashreplace").decode("ascii")


codecs.register_error(ERRORS, in_ascii)
