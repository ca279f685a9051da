"""Results as text: tables aligned for a terminal or piped for Markdown, lines, file names.

What names and messages hold is shown as it is, and does nothing: for each place where text is read
there is one function that makes it so.
"""

import hashlib
import re
import textwrap
import unicodedata
from collections.abc import Collection, Iterable, Iterator, Sequence
from urllib.parse import quote

from runlab import console

NAME = 24
"""Characters of an arm's name before it is wrapped."""

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


LATEX = {
    **{each: f"\\{each}" for each in "{}$&#%_"},
    **{"\\": r"\textbackslash{}", "^": r"\textasciicircum{}", "~": r"\textasciitilde{}"},
    **{"`": r"\textasciigrave{}", '"': r"\char34{}", "|": r"\textbar{}"},
    **{"<": "$<$", ">": "$>$", "±": r"$\pm$", "×": r"$\times$", "\N{MINUS SIGN}": "$-$"},
    **{"\N{EN DASH}": "--", "[": "{[}", "]": "{]}"},
}
"""A bracket after the end of a table's row would be its argument."""
LIGATURES = re.compile(r"([-',])(?=\1)")


def latex(text: str) -> str:
    """For LaTeX, outside mathematics: read as it is written, and no command."""
    escaped = "".join(LATEX.get(each, each) for each in LIGATURES.sub("\\1\0", printable(text)))
    return escaped.replace("\0", "{}")


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
    """The first column to the left, the others to the right; a cell may hold several lines.

    A table that is wider than the terminal has its titles and its first column wrapped; one that is
    too wide even so becomes several, each with the first column.
    """
    free = console.columns()
    table = [[printable(cell, keep="\n") for cell in row] for row in (header, *rows)]
    narrow = _narrowed(table, free)
    fits = _table_width(narrow) <= free
    parts = [_joined(part) for part in ([narrow] if fits else _split(table, free))]
    return [line for part in parts for line in ("", *part)][1:]


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


UNBROKEN = re.compile(r" [=<] |\[[^][ ]+, [^][ ]+\]")


def wrapped(text: str, bullet: str = "") -> list[str]:
    """Lines for the terminal, indented after the first; no `p = 0.002` nor `[0.2, 0.8]` broken."""
    bound = UNBROKEN.sub(lambda found: found[0].replace(" ", "\0"), printable(text))
    indent = " " * len(bullet)
    lines = textwrap.wrap(
        bound, console.line_length(), initial_indent=bullet, subsequent_indent=indent,
        break_on_hyphens=False,
    )  # fmt: skip
    return [line.replace("\0", " ") for line in lines]


def plural(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def size_text(size: int) -> str:
    """Of bytes: `334 MB`, in powers of 1,000 as disks are sold."""
    scaled = float(size)
    for unit in ("bytes", "kB", "MB"):
        if scaled < 999.5:
            return f"{scaled:.0f} {unit}"
        scaled /= 1000
    return f"{scaled:.1f} GB"


def wrapped_name(arm: str) -> str:
    """An arm's name over several lines, one setting a line, none longer than a column may be."""
    parts = printable(arm).split(", ")
    return "\n".join(line for part in parts for line in textwrap.wrap(part, NAME))


def width(cell: str) -> int:
    return max(map(len, cell.split("\n")))


Table = list[list[str]]  # its titles, then its rows


def _widths(table: Table) -> list[int]:
    return [max(map(width, column)) for column in zip(*table, strict=True)]


def _table_width(table: Table) -> int:
    widths = _widths(table)
    return sum(widths) + 2 * len(widths) - 2


def _narrowed(table: Table, free: int) -> Table:
    """With titles as narrow as their columns, and the first column in what is left of the line.

    One that is not too wide stays as it is.
    """
    if _table_width(table) <= free:
        return table
    header, *rows = table
    values = _widths(rows) if rows else [1] * len(header)
    header = [_narrow(*pair) for pair in zip(header, values, strict=True)]
    table = [header, *rows]
    first = max(free - (_table_width(table) - _widths(table)[0]), NAME)
    return [["\n".join(_lines_within(cell, first)), *others] for cell, *others in table]


def _narrow(title: str, least: int) -> str:
    longest_word = max(map(len, title.split()), default=1)
    return "\n".join(_lines_within(title, max(least, longest_word)))


def _lines_within(cell: str, length: int) -> Iterator[str]:
    for line in cell.split("\n"):
        yield from textwrap.wrap(line, length, break_on_hyphens=False) or [""]


def _split(table: Table, free: int) -> Iterator[Table]:
    """By columns, as many in each part as fit; without rows that have nothing in them there."""
    first, *others = zip(*table, strict=True)
    part = [first]
    for column in others:
        if len(part) > 1 and _table_width(_rows([*part, column])) > free:
            yield _narrowed(_rows(part), free)
            part = [first]
        part.append(column)
    yield _narrowed(_rows(part), free)


def _rows(columns: Iterable[Sequence[str]]) -> Table:
    header, *rows = map(list, zip(*columns, strict=True))
    return [header, *(row for row in rows if any(row[1:]) or len(row) == 1)]


def _joined(table: Table) -> list[str]:
    widths = _widths(table)
    lines = [line for row in table for line in _lines(row, widths)]
    height = max(cell.count("\n") for cell in table[0]) + 1
    return [*lines[:height], "-" * _table_width(table), *lines[height:]]


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
