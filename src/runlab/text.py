"""Results as text: tables aligned for a terminal or piped for Markdown, lines, file names.

What names and messages hold is shown as it is, and does nothing: for each place where text is read
there is one function that makes it so.
"""

import hashlib
import re
import textwrap
import unicodedata
from collections.abc import Collection, Iterable, Sequence
from urllib.parse import quote

LINE = 100
NAME = 24
"""Characters of a terminal line, and of an arm's name before it is wrapped."""

LONGEST_FILE_NAME = 180  # bytes; one may have 255, and checkpoints add temporary suffixes


def printable(text: str, keep: str = "") -> str:
    """For a terminal, a log and a page: what can't be seen is shown, as in `\\x1b[2J`.

    That is whatever moves the cursor, ends the line, or turns the direction of reading; but for the
    characters in `keep`.
    """
    if text.isprintable():
        return text
    return "".join(
        each.encode("unicode_escape").decode("ascii")
        if unicodedata.category(each) in ("Cc", "Cf", "Cs", "Zl", "Zp") and each not in keep
        else each
        for each in text
    )


MARKUP = re.compile(
    r"[\\`*|~$]"  # code, emphasis, cells, mathematics
    r"|(?<![^\W_])_|_(?![^\W_])"  # emphasis, but not between letters
    r"|(?<=\])[(\[:]"  # links
    r"|^[#>+=-](?=[\s#>+=-]|$)"  # headings, quotes, lists
)
HTML = re.compile(r"<(?=[a-zA-Z/!?])|&(?=[#\w])")
ENTITIES = {"&": "&amp;", "<": "&lt;"}


def markdown(text: str) -> str:
    """For one line of Markdown, from its start: read as it is written, HTML too.

    What starts no markup stays plain, as in `p < 0.001 [0.22, 0.40]`.
    """
    escaped = MARKUP.sub(r"\\\g<0>", printable(text))
    return HTML.sub(lambda found: ENTITIES[found[0]], escaped)


def code(text: str) -> str:
    """Markdown's span of code, whatever the text has of backticks."""
    fence = "`" * (1 + max(map(len, re.findall("`+", text)), default=0))
    room = " " * (len(fence) > 1)
    return f"{fence}{room}{printable(text)}{room}{fence}"


def spreadsheet(text: str) -> str:
    """For a cell of a CSV file: no formula to who opens it; what is a number stays one."""
    if not text.startswith(("=", "+", "-", "@", "\t", "\r")):
        return text
    try:
        float(text)
    except ValueError:
        return f"'{text}"
    return text


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
    table = [[printable(cell, keep="\n") for cell in row] for row in (header, *rows)]
    widths = [max(width(cell) for cell in column) for column in zip(*table, strict=True)]
    lines = [line for row in table for line in _lines(row, widths)]
    height = max(cell.count("\n") for cell in header) + 1
    return [*lines[:height], "-" * (sum(widths) + 2 * len(widths) - 2), *lines[height:]]


def piped(
    header: Sequence[str], rows: Iterable[Sequence[str]], bold: Collection[int] = ()
) -> list[str]:
    """`bold` are the numbers of rows, from 0."""
    cells = [[markdown(cell) for cell in row] for row in rows]
    table = [
        [markdown(name) for name in header],
        ["---", *["---:"] * (len(header) - 1)],
        *([f"**{cell}**" for cell in row] if i in bold else row for i, row in enumerate(cells)),
    ]
    return ["| " + " | ".join(row) + " |" for row in table]


def wrapped(text: str, bullet: str = "") -> list[str]:
    """Lines of at most 100 characters, `p = 0.002` never broken, indented after the first."""
    bound = printable(text).replace(" = ", "\0=\0").replace(" < ", "\0<\0")
    indent = " " * len(bullet)
    lines = textwrap.wrap(
        bound, LINE, initial_indent=bullet, subsequent_indent=indent, break_on_hyphens=False
    )
    return [line.replace("\0", " ") for line in lines]


def plural(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def wrapped_name(arm: str) -> str:
    """An arm's name over several lines, one setting a line, none longer than a column may be."""
    parts = printable(arm).split(", ")
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
