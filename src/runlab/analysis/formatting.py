"""Numbers of a comparison as text: with their intervals, in one notation everywhere."""

import math

import pandas as pd

from runlab.runs.record import UNSOUND
from runlab.text import plural

ABSENT = "\N{EN DASH}"
MINUS = "\N{MINUS SIGN}"
SIGNS = dict(zip(UNSOUND, "†‡", strict=True))


def number(value: float, digits: int = 2) -> str:
    """`0.31`, `−0.31`; a dash where it is not known."""
    if math.isnan(value):
        return ABSENT
    return _with_minus(f"{_unsigned_zero(value, digits):.{digits}f}")


def signed_number(value: float, digits: int = 2) -> str:
    """`+0.31`, `−0.31`."""
    if math.isnan(value):
        return ABSENT
    return _with_minus(f"{_unsigned_zero(value, digits):+.{digits}f}")


def with_unit(text: str, unit: str) -> str:
    """`98.12%`, `0.31 m`, or the text alone."""
    return f"{text}{unit}" if unit in ("", "%") else f"{text} {unit}"


def interval(value: float, low: float, high: float, signed: bool = False, digits: int = 2) -> str:
    """`0.31 [0.22, 0.40]`, or the value alone where there is no interval."""
    middle = signed_number(value, digits) if signed else number(value, digits)
    return middle if math.isnan(low) else f"{middle} {bounds(low, high, digits)}"


def bounds(low: float, high: float, digits: int = 2) -> str:
    """`[0.22, 0.40]`"""
    if math.isnan(low):
        return ABSENT
    return f"[{number(low, digits)}, {number(high, digits)}]"


def spread(mean: float, sd: float, digits: int = 2) -> str:
    """`98.12 ± 0.08`, or the mean alone where one run has no spread."""
    return number(mean, digits) if math.isnan(sd) else f"{mean:.{digits}f} ± {sd:.{digits}f}"


def p_value(p: float) -> str:
    """`p = 0.002` or `p < 0.001`."""
    return f"p {p_number(p)}" if p < 0.001 else f"p = {p_number(p)}"


def p_number(p: float) -> str:
    return "< 0.001" if p < 0.001 else number(p, 3)


def percentage(share: float) -> str:
    """`54%`; `under 1%` and `over 99%` where rounding would say none or all."""
    if 0 < share < 0.005:
        return "under 1%"
    return "over 99%" if 0.995 <= share < 1 else f"{share:.0%}"


def epochs(median: float, lowest: float, highest: float) -> str:
    """`2 [1, 3]` epochs; an infinite one was never reached."""
    texts = [
        "never" if math.isinf(value) else f"{value:.4g}" for value in (median, lowest, highest)
    ]
    return texts[0] if lowest == highest else f"{texts[0]} [{texts[1]}, {texts[2]}]"


def bad_ends(row: pd.Series, of: str = "") -> str:
    """`1 of 10 runs diverged and 2 collapsed`, `every run collapsed`; empty where none did.

    Args:
        row: of a cell or an arm.
        of: whose runs, as in `every run of mse diverged`.
    """
    runs, whose = int(row["n"]), f" of {of}" if of else ""
    counts = {end: int(row[end]) for end in UNSOUND if row[end]}
    if not counts:
        return ""
    (first, count), *others = counts.items()
    share = "every run" if count == runs else f"{count} of {plural(runs, 'run')}"
    return " and ".join([f"{share}{whose} {first}", *(f"{k} {end}" for end, k in others)])


def marks(cells: pd.DataFrame) -> list[str]:
    """What the marks of `marked` say, of those that there are: `†k: k runs diverged`."""
    return [f"{sign}k: k runs {end}" for end, sign in SIGNS.items() if cells[end].any()]


def marked(cell: pd.Series) -> str:
    """`†2 ‡1`: two runs of the cell diverged, one collapsed."""
    return " ".join(f"{sign}{cell[end]}" for end, sign in SIGNS.items() if cell[end])


def pair_name(row: pd.Series) -> str:
    """`first − other`, of two arms."""
    return f"{row['arm']} {MINUS} {row['other']}"


def listed(names: list[str], at_most: int = 5) -> str:
    """`a, b and 3 more`; separated by semicolons where a name has a comma."""
    rest = len(names) - at_most
    separator = "; " if any(", " in name for name in names) else ", "
    return separator.join(names[:at_most]) + (f" and {rest} more" if rest > 0 else "")


def _unsigned_zero(value: float, digits: int) -> float:
    return round(value, digits) + 0.0  # -0.0 + 0.0 is 0.0


def _with_minus(text: str) -> str:
    return text.replace("-", MINUS)
