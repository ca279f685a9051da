"""One colour, marker and dash pattern per arm, the same wherever the arm is drawn."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from runlab.analysis.arms import ordered

INK = "#1a1a1a"
MUTED = "#5a5a5a"
LINES = "#d8d8d8"
PAPER = "#ffffff"
"""Text, what is less important, grid lines and ground. In the page they follow light and dark."""


@dataclass(frozen=True)
class Style:
    color: str
    marker: str
    dashes: Any = "-"


KNOWN = {
    "cross_entropy": Style("#0072B2", "o"),
    "mse": Style("#D55E00", "s"),
    "mse_logits": Style("#009E73", "^"),
}
"""Colours of Okabe and Ito, for any colour vision. Their yellow is too faint for a line."""

OTHERS = [
    Style(color, marker, dashes)
    for dashes, markers in (("-", "DvPXh"), ("--", "<>pd*"), (":", "8H123"))
    for color, marker in zip(
        ("#CC79A7", "#E69F00", "#56B4E9", INK, "#8c6bb1"), markers, strict=True
    )
]

Looks = Mapping[str, Style]


def styles(arms: Iterable[str], looks: Looks | None = None) -> dict[str, Style]:
    """Each arm's style out of `looks`; without, a known loss has its own, any other is given one.

    That one is chosen by the arm's name, the next if it is taken: so it depends on the company, and
    figures of one sweep need the looks of all its arms.
    """
    if looks is not None:
        return {arm: looks[arm] for arm in ordered(arms)}
    taken: dict[str, Style] = {}
    for arm in ordered(arms):
        taken[arm] = KNOWN[arm] if arm in KNOWN else _style(arm, set(taken.values()))
    return taken


def _style(arm: str, taken: set[Style]) -> Style:
    # hash() differs from process to process
    start = int.from_bytes(hashlib.sha256(arm.encode()).digest()[:4], "big") % 5
    turns = [*OTHERS[start:], *OTHERS[:start]]
    return next((style for style in turns if style not in taken), turns[0])
