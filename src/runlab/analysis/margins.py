"""The margin within which a difference does not matter: how large it is, and who set it when."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import pandas as pd

from runlab.text import plural


@dataclass(frozen=True)
class Margin:
    """Of a comparison.

    Attributes:
        value: in the measure's unit; None where there is none.
        origin: who set it when, in words that go on after a comma.
        warnings: a sentence where it is not the one that every run recorded.
    """

    value: float | None
    origin: str = ""
    warnings: tuple[str, ...] = ()


def find_margin(
    recorded_by_run: Collection[float | None], by_command: pd.Series, given: float | None
) -> Margin:
    """The one that is given, or else the smallest that the runs recorded before they began.

    Args:
        recorded_by_run: of the measure that runs are compared by: a margin is of one measure alone.
        by_command: whether the command line of each run set a margin.
        given: with the comparison, so after the runs.
    """
    recorded = _recorded(recorded_by_run)
    if given is not None and recorded != [given]:
        origin = "given with the comparison, after the runs"
        warning = f"the margin ±{given:g} was given afterwards; the runs declared {_told(recorded)}"
        return Margin(given, origin, (warning,))
    if len(recorded) > 1:
        origin = f"the smallest of those that the runs recorded ({_told(recorded)})"
        warning = f"the runs declared different margins ({_told(recorded)}): the smallest is used"
        return Margin(recorded[0], origin, (warning,))
    return Margin(recorded[0], "" if recorded == [None] else _who(by_command))


def _recorded(by_run: Collection[float | None]) -> list[float | None]:
    """All margins, the smallest first; None at last where a run has none."""
    margins: list[float | None] = [*sorted({float(each) for each in by_run if each is not None})]
    return margins + [None] * (None in by_run)


def _told(margins: Sequence[float | None]) -> str:
    return ", ".join("none" if each is None else f"±{each:g}" for each in margins)


def _who(by_command: pd.Series) -> str:
    """Of a margin that all runs recorded."""
    before = "recorded by every run before it began"
    if by_command.all():
        return f"{before}, as its command line set it"
    if by_command.any():
        runs = f"{int(by_command.sum())} of {plural(len(by_command), 'run')}"
        return f"{before}; the command line of {runs} set it"
    return (
        f"{before}; no command line set it, so it is the configuration files' default, unless it "
        "was written there for this sweep"
    )
