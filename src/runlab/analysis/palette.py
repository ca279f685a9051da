"""One colour, marker and dash pattern per arm, the same wherever the arm is drawn."""

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from matplotlib.lines import Line2D

from runlab.analysis.arms import order_arms, parts_of, same_spelling
from runlab.analysis.greys import INK

BLUE = "#0072B2"
VERMILION = "#D55E00"
GREEN = "#009E73"
"""Three colours of Okabe and Ito, for any colour vision. Their yellow is too faint for a line."""


@dataclass(frozen=True)
class Style:
    """`marker` and `dashes` as in matplotlib; `title` is what a headline calls the arm."""

    color: str
    marker: str
    dashes: str = "-"
    title: str = ""


SPARE_STYLES = [
    Style(color, marker, dashes)
    for dashes, markers in (("-", "DvPXh"), ("--", "<>pd*"), (":", "8H123"))
    for color, marker in zip(
        ("#CC79A7", "#E69F00", "#56B4E9", INK, "#8c6bb1"), markers, strict=True
    )
]
"""For arms that the configuration does not name."""


def known_styles(config: Mapping[str, Any]) -> dict[str, Style]:
    """The styles by arm that a configuration declares as `comparison.arm_styles`.

    Raises:
        ValueError: if an entry is no style.
    """
    return {same_spelling(arm): _read_style(arm, entry) for arm, entry in config.items()}


def _read_style(arm: str, entry: Any) -> Style:
    names = {each.name for each in fields(Style)}
    if isinstance(entry, Mapping) and {"color", "marker"} <= entry.keys() <= names:
        values = {key: str(value) for key, value in entry.items()}
        style = Style(**values)
        # the page's CSS takes the colour too: it does not know matplotlib's names
        is_color = re.fullmatch("#[0-9a-fA-F]{6}", style.color)
        if is_color and style.marker in Line2D.markers and style.dashes in Line2D.lineStyles:
            return style
    raise ValueError(
        f"expected comparison.arm_styles.{arm} with a color such as '{BLUE}', a marker and "
        f"perhaps dashes of matplotlib, and perhaps a title, got {entry}"
    )


def arm_styles(arms: Iterable[str], known: Mapping[str, Style]) -> dict[str, Style]:
    """Each arm's style, in the order in which arms are shown; arms that are not known get a spare.

    The arm's name chooses the spare, the next one if that is taken. So it depends on the other
    arms: all figures of one sweep need the styles of all its arms.
    """
    given: dict[str, Style] = {}
    for arm in order_arms(arms, known):
        taken = {replace(style, title="") for style in given.values()}
        given[arm] = known[arm] if arm in known else _spare_style(arm, taken)
    return given


def _spare_style(arm: str, taken: set[Style]) -> Style:
    # hash() differs from process to process
    start = int.from_bytes(hashlib.sha256(arm.encode()).digest()[:4], "big") % 5
    candidates = [*SPARE_STYLES[start:], *SPARE_STYLES[:start]]
    return next((style for style in candidates if style not in taken), candidates[0])


def arm_title(arm: str, known: Mapping[str, Style]) -> str:
    """What a headline calls an arm: by the title that is declared for it, or for its first part."""
    first, *others = parts_of(arm)
    for name, rest in ((arm, []), (first, others)):
        if name in known and known[name].title:
            return ", ".join([known[name].title, *rest])
    return arm


def select_styles(arms: Iterable[str], arm_styles: Mapping[str, Style]) -> dict[str, Style]:
    """The styles of these arms alone, each once, in the order of `arm_styles`."""
    places = list(arm_styles)
    return {arm: arm_styles[arm] for arm in sorted(set(arms), key=places.index)}
