"""Results as text: tables aligned for a terminal or piped for Markdown, lines, file names."""

import hashlib
import textwrap
from collections.abc import Iterable, Sequence
from urllib.parse import quote

LINE = 100
NAME = 24
"""Characters of a terminal line, and of an arm's name before it is wrapped."""

LONGEST_FILE_NAME = 180  # bytes; one may have 255, and checkpoints add temporary suffixes


def percent_encoded(text: str, keep: str = "") -> str:
    """What is safe in a file name as it is, the rest percent-encoded, but for what is kept."""
    return quote(text, safe=f"=,.-_+[]{{}}{keep}")


def file_name(text: str, keep: str = "") -> str:
    """Percent-encoded and never too long; names of different texts differ."""
    name = percent_encoded(text, keep)
    if len(name) <= LONGEST_FILE_NAME:
        return name
    return f"{name[:LONGEST_FILE_NAME]}~{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def aligned(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """The first column to the left, the others to the right; a cell may hold several lines."""
    table = [list(header), *map(list, rows)]
    widths = [max(width(cell) for cell in column) for column in zip(*table, strict=True)]
    lines = [line for row in table for line in _lines(row, widths)]
    height = max(cell.count("\n") for cell in header) + 1
    return [*lines[:height], "-" * (sum(widths) + 2 * len(widths) - 2), *lines[height:]]


def piped(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    rule = ["---", *["---:"] * (len(header) - 1)]
    table = [header, rule, *([cell.replace("|", r"\|") for cell in row] for row in rows)]
    return ["| " + " | ".join(row) + " |" for row in table]


def wrapped(text: str, bullet: str = "") -> list[str]:
    """Lines of at most 100 characters, `p = 0.002` never broken, indented after the first."""
    bound = text.replace(" = ", "\0=\0").replace(" < ", "\0<\0")
    indent = " " * len(bullet)
    lines = textwrap.wrap(
        bound, LINE, initial_indent=bullet, subsequent_indent=indent, break_on_hyphens=False
    )
    return [line.replace("\0", " ") for line in lines]


def plural(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def wrapped_name(arm: str) -> str:
    """An arm's name over several lines, one setting a line, none longer than a column may be."""
    parts = arm.split(", ")
    return "\n".join(line for part in parts for line in textwrap.wrap(part, NAME))


def width(cell: str) -> int:
    return max(map(len, cell.split("\n")))


def _lines(row: list[str], widths: list[int]) -> list[str]:
    cells = [cell.split("\n") for cell in row]
    height = max(map(len, cells))
    padded = [cell + [""] * (height - len(cell)) for cell in cells]
    return [
        "  ".join(
            part.rjust(width) if column else part.ljust(width)
            for column, (part, width) in enumerate(zip(parts, widths, strict=True))
        ).rstrip()
        for parts in zip(*padded, strict=True)
    ]


def shortened(text: str, length: int) -> str:
    """Cut in its middle to so many characters, if it has more."""
    if len(text) <= length:
        return text
    end = (length - 1) // 2
    return f"{text[: length - 1 - end]}…{text[-end:]}"


def exact(value: float) -> str:
    """The fewest digits that tell a single-precision number from all others."""
    if value.is_integer():
        return f"{value:.0f}"
    import numpy as np  # a tenth of a second, which other texts need not wait

    return str(np.float32(value)) if float(np.float32(value)) == value else str(value)
