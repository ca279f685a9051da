"""Each conclusion at one look: who is better and by how much, with as few figures as it takes."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from runlab.analysis.conclusions import LEADS, better_first, turned_to_better
from runlab.analysis.formatting import bounds, number, p_value
from runlab.analysis.palette import Style, arm_title
from runlab.analysis.statistics import seeds_needed
from runlab.analysis.verdicts import Verdict
from runlab.measure import Measure
from runlab.text import plural


@dataclass(frozen=True)
class Card:
    """A conclusion on a pair of arms.

    Attributes:
        arms: the better one first.
        figures: the difference with its interval, and the test; or why there is none.
        reservations: what may make it another one.
        repeats: how often resamples of the seeds conclude the same; empty where it is not known.
    """

    headline: str
    arms: tuple[str, str]
    figures: list[str]
    reservations: list[str]
    repeats: str


def headline(
    row: pd.Series, measure: Measure, margin: float | None, known: Mapping[str, Style]
) -> str:
    """As in `Cross-entropy beats squared error by 0.42 points`.

    Args:
        row: of the table of differences.
        known: the styles that the configuration declares, with the arms' titles.
    """
    names = better_first(row)
    arm, other = (arm_title(name, known) for name in names)
    lead = LEADS.get(row["verdict"])
    if lead is not None:
        return lead.format(arm=arm, other=other)
    small = margin is not None and max(abs(row["low"]), abs(row["high"])) < margin
    text = f"{arm} beats {other} by {_size(row, measure)}" + ", too little to matter" * small
    return text if arm == names[0] else text[0].upper() + text[1:]


REASONS: dict[str, list[str]] = {
    Verdict.NONE_SOUND: [],
    Verdict.UNPAIRED: ["What is compared of them shares no seed"],
    Verdict.UNKNOWN: ["A run that is compared lacks its result"],
}
"""What a card says where no difference is known; of runs without an outcome, reservations tell."""


def figures(row: pd.Series, measure: Measure, tests: int) -> list[str]:
    """As in `0.42 points, 95% [0.30, 0.50]` and `p = 0.020 after Holm, 10 paired seeds`.

    The better arm minus the other, with the interval that decides.
    """
    if row["verdict"] in REASONS:
        return REASONS[row["verdict"]]
    seeds = plural(int(row["pairs"]), "paired seed")
    if row["verdict"] == Verdict.TOO_FEW:
        return [f"{_effect(row, measure)} so far", f"{seeds}, a test needs {seeds_needed(tests)}"]
    if row["verdict"] == Verdict.EQUIVALENT:
        size, p = _effect(row, measure, "equivalence_"), row["p_equivalent_holm"]
    else:
        size, p = _effect(row, measure), row["p_holm"]
    return [size, f"{p_value(p)}{' after Holm' * (tests > 1)}, {seeds}"]


def _effect(row: pd.Series, measure: Measure, of: str = "") -> str:
    row = turned_to_better(row)
    low, high = row[f"{of}low"], row[f"{of}high"]
    size = f"{number(row['difference'], measure.digits)}{_unit(measure)}"
    if math.isnan(low):
        return size
    return f"{size}, {'90%' if of else '95%'} {bounds(low, high, measure.digits)}"


def _size(row: pd.Series, measure: Measure) -> str:
    size = number(abs(row["difference"]), measure.digits)
    return f"{size}{_unit(measure) or f' in test {measure.title}'}"


def _unit(measure: Measure) -> str:
    return f" {measure.difference_unit}" if measure.difference_unit else ""
