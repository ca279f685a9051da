"""The comparison as one HTML page that needs nothing else: no network, no script, no other file."""

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from runlab.analysis import method, wording
from runlab.analysis.figures import ALT_TEXTS
from runlab.analysis.figures.inline import VARIABLES, inline
from runlab.analysis.grid import TOLERANCE
from runlab.analysis.palette import styles
from runlab.analysis.statistics import seeds_needed
from runlab.text import plural

if TYPE_CHECKING:
    from runlab.analysis.comparison import Comparison

TEMPLATE = "page.html.jinja"
TABLES = ("cells", "arms", "differences", "naive")


def to_page(
    comparison: "Comparison", svgs: Mapping[str, str], landscape: tuple[str, str] | None
) -> str:
    """`svgs` holds figures as rendered, by name; `landscape` an SVG and its caption."""
    drawings = dict(svgs) | ({"landscape": landscape[0]} if landscape else {})
    return _environment().get_template(TEMPLATE).render(
        comparison=comparison,
        measure=comparison.measure,
        margin=comparison.margin,
        tables={name: _records(getattr(comparison, name)) for name in TABLES},
        speed=_speed_by_arm(comparison.speed),
        counted=int(comparison.cells["n"].sum()),
        tests=wording.count_tests(comparison.differences),
        colors=_colors(comparison),
        drawings={name: inline(svg, name, ALT_TEXTS[name]) for name, svg in drawings.items()},
        landscape_caption=landscape[1] if landscape else "",
    )  # fmt: skip


def _environment() -> Environment:
    loader = FileSystemLoader(Path(__file__).parent)
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    environment.globals.update(
        {name: getattr(wording, name) for name in ("interval", "number", "spread", "p_number")},
        epochs=wording.epochs, pair_name=wording.pair_name, plural=plural, tolerance=TOLERANCE,
        seeds_needed=seeds_needed, method=method, bounds=_bounds,
    )  # fmt: skip
    environment.tests["known"] = _is_known
    environment.filters.update(bound=_bound, with_code=_with_code)
    return environment


def _records(table: pd.DataFrame) -> list[dict[Any, Any]]:
    return table.to_dict("records")


def _bound(text: str) -> str:
    """With `p = 0.002` kept on one line."""
    return re.sub(" ([=<]) ", "\N{NBSP}\\1\N{NBSP}", text)


def _with_code(text: str) -> Markup:
    """Backticks as `<code>`."""
    return Markup(re.sub("`(.+?)`", r"<code>\1</code>", str(escape(text))))


def _bounds(low: float, high: float, digits: int) -> str:
    """`[0.22, 0.40]`"""
    if math.isnan(low):
        return wording.ABSENT
    return f"[{wording.number(low, digits)}, {wording.number(high, digits)}]"


def _is_known(value: Any) -> bool:
    return value is not None and not (isinstance(value, float) and math.isnan(value))


def _speed_by_arm(speed: pd.DataFrame) -> list[list[dict[Any, Any]]]:
    """Of each arm its rows, one a threshold."""
    return [_records(own) for _, own in speed.groupby("arm", sort=False)]


def _colors(comparison: "Comparison") -> dict[str, Markup]:
    """By arm, as CSS; ink turns with the page."""
    shown = styles(comparison.cells["arm"], comparison.looks)
    looks = {arm: style.color for arm, style in shown.items()}
    return {
        arm: Markup(f"var({VARIABLES[color]})" if color in VARIABLES else color)
        for arm, color in looks.items()
    }
