"""Each conclusion as a headline: who is better and by how much, without the statistics."""

from collections.abc import Mapping

import pandas as pd

from runlab.analysis.conclusions import LEADS, better_first
from runlab.analysis.formatting import number
from runlab.analysis.palette import Style, arm_title
from runlab.measure import Measure


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


def _size(row: pd.Series, measure: Measure) -> str:
    size = number(abs(row["difference"]), measure.digits)
    unit = measure.difference_unit or f"in test {measure.title}"
    return f"{size} {unit}"
