"""What the terminal is like: how many columns it has, and whether it shows colours."""

import logging
import os
import sys
from shutil import get_terminal_size
from typing import Any

PIPED = 100
"""Columns where nothing says how many there are, as in a file: what is written stays the same."""

LONGEST_LINE = 100
"""Characters of a line of text, however wide the terminal is: longer ones are hard to read."""

NARROWEST = 40

Stream = Any
"""A text stream, or whatever a notebook or a test has put in its place."""

VERDICT, BOLD, WARNING, FAILURE = "1;32", "1", "33", "31"
"""Styles, as ANSI numbers them: bold green, bold, yellow, red."""


LIVE = "RUNLAB_LIVE"
"""An environment variable: a line is drawn on the terminal, which whoever writes there erases."""

ERASE = "\r\x1b[K"
"""What a terminal takes to empty the line that the cursor is on."""


def columns(stream: Stream = None) -> int:
    """Of the terminal that the stream leads to, by default standard output.

    The variable COLUMNS comes first, as everywhere. A stream that leads to no terminal has 100.
    """
    if stream is None or os.environ.get("COLUMNS", "0") != "0":
        width = get_terminal_size((PIPED, 24)).columns
    else:
        width = terminal_columns(stream)
    return max(width, NARROWEST)


def rows() -> int:
    """Of the terminal that standard output leads to."""
    return max(get_terminal_size((PIPED, 24)).lines, 5)


def terminal_columns(stream: Stream) -> int:
    try:
        return os.get_terminal_size(stream.fileno()).columns or PIPED
    except (OSError, ValueError, AttributeError):  # a file, closed, or none that has a number
        return PIPED


def line_length() -> int:
    """Characters of a line of text on standard output."""
    return min(columns(), LONGEST_LINE)


def is_terminal(stream: Stream) -> bool:
    """Whether lines can be drawn again on it."""
    return os.environ.get("TERM") != "dumb" and stream.isatty()


def has_colours(stream: Stream) -> bool:
    """Whether it shows them: NO_COLOR comes first, then FORCE_COLOR, as in Python's own output."""
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    plain = sys.platform == "win32" and "WT_SESSION" not in os.environ  # an old console
    return is_terminal(stream) and not plain


def painted(text: str, style: str, stream: Stream = None) -> str:
    """The text in this style, each line by itself, where the stream shows colours.

    Whatever else stands in the text has to be printable already.
    """
    if not text or not has_colours(stream or sys.stdout):
        return text
    return "\n".join(f"\x1b[{style}m{line}\x1b[0m" for line in text.split("\n"))


def failure(text: str) -> str:
    """What ends a command, as standard error shows it."""
    return painted(text, FAILURE, sys.stderr)


class LogFormatter(logging.Formatter):
    """Warnings and errors in their colours, on standard output."""

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        if record.levelno >= logging.ERROR:
            return painted(text, FAILURE)
        return painted(text, WARNING) if record.levelno >= logging.WARNING else text
