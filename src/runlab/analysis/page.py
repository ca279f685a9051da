"""The comparison as one HTML page that needs nothing else: no network, no script, no other file."""

import base64
import hashlib
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment
from markupsafe import Markup, escape

from runlab.analysis import conclusions, formatting, interactive, method
from runlab.analysis.cells import milestone_measure
from runlab.analysis.comparison import Comparison
from runlab.analysis.greys import CSS_VARIABLES, css_variables
from runlab.analysis.learning_rates import rate_text, with_rate
from runlab.analysis.palette import select_styles
from runlab.analysis.section import Section
from runlab.analysis.statistics import seeds_needed
from runlab.analysis.templates import new_environment
from runlab.text import plural, printable

TEMPLATE = "page.html.jinja"
SCRIPT = "page.js"
TABLES = ("cells", "arms", "differences", "naive")
FORMATTING = ("bounds", "epochs", "interval", "number", "p_number", "pair_name", "spread")
"""What templates may call by its name."""


def to_page(
    comparison: Comparison, drawings: Mapping[str, Markup], sections: Sequence[Section]
) -> str:
    """`drawings` are the figures that there are, by name, as HTML."""
    environment = _environment()
    others = comparison.other_measures
    shown = [section for section in sections if section.template is not None]
    library, packed = interactive.library()
    script = Markup((Path(__file__).parent / SCRIPT).read_text(encoding="utf-8"))
    return environment.get_template(TEMPLATE).render(
        comparison=comparison,
        measure=comparison.measure,
        others=others,
        test_titles=[f"test {other.title}" for other in others],
        milestones=milestone_measure(comparison.measure, comparison.measures),
        margin=comparison.margin,
        rate=comparison.rate,
        tables={name: _records(getattr(comparison, name)) for name in TABLES},
        speed=[_records(own) for _, own in comparison.speed.groupby("arm", sort=False)],
        counted=int(comparison.cells["n"].sum()),
        facts=_facts(comparison),
        headings=_headings(comparison, shown),
        script=script,
        data=Markup(interactive.to_json(comparison)),
        left_out=interactive.left_out(comparison),
        library=packed,
        policy=_policy(script, library),
        tests=conclusions.count_tests(comparison.differences),
        css_variables=css_variables(),
        colors=_colors(comparison),
        drawings=drawings,
        sections=shown,
        templates={each.id: environment.from_string(_template(each)) for each in shown},
    )


def _facts(comparison: Comparison) -> dict[str, str]:
    """What was held equal; and how many runs there are, as a product where they are a grid."""
    cells = comparison.cells
    arms, seeds = cells["arm"].nunique(), int(cells["n"].max())
    rates, runs = cells["learning_rate"].nunique(), f"{cells['n'].sum():,}"
    counted = [plural(arms, "arm")]
    if comparison.rate is not None and rates > 1:
        counted.append(f"{rates} {comparison.rate.plural}")
    counted.append(plural(seeds, "seed"))
    is_grid = len(cells) == arms * rates and (cells["n"] == seeds).all()
    return {**comparison.facts, "runs": f"{runs}: {' × '.join(counted)}" if is_grid else runs}


def _headings(comparison: Comparison, sections: Sequence[Section]) -> dict[str, str]:
    """Of all sections of the page, by id: what its links say, too."""
    rate = comparison.rate
    return {
        "effect": "Effect",
        "uncertainty": "Two uncertainties",
        "reach": "How far a verdict carries",
        "rates": with_rate(rate, "Sensitivity to the {title}") or "Every cell",
        "speed": "Speed of learning",
        **{section.id: section.title for section in sections},
        **({} if rate is None else {"naive": method.naive_title(rate)}),
        "runs": "Runs",
        "cost": "Cost",
        "method": "Method and provenance",
    }


def _policy(*scripts: str) -> str:
    """The page's Content-Security-Policy: it runs these scripts alone, and fetches nothing."""
    hashes = [base64.b64encode(hashlib.sha256(each.encode()).digest()).decode() for each in scripts]
    allowed = " ".join(f"'sha256-{each}'" for each in hashes)
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def _template(section: Section) -> str:
    return "" if section.template is None else section.template.read_text(encoding="utf-8")


def _environment() -> Environment:
    environment = new_environment()
    environment.globals.update({name: getattr(formatting, name) for name in FORMATTING})
    environment.globals.update(seeds_needed=seeds_needed, method=method)
    environment.globals.update(with_rate=with_rate, rate_text=rate_text)
    environment.tests["known"] = _is_known
    environment.filters.update(bound=_bound, with_code=_with_code)
    return environment


def _records(table: pd.DataFrame) -> list[dict[Any, Any]]:
    return table.to_dict("records")


def _bound(text: str) -> str:
    """With `p = 0.002` and `cross-entropy` kept on one line."""
    text = re.sub(" ([=<]) ", "\N{NBSP}\\1\N{NBSP}", text)
    return re.sub(r"\b-\b", "\N{NON-BREAKING HYPHEN}", text)


def _with_code(text: str) -> Markup:
    """Backticks as `<code>`."""
    return Markup(re.sub("`(.+?)`", r"<code>\1</code>", str(escape(printable(text)))))


def _is_known(value: Any) -> bool:
    return value is not None and not (isinstance(value, float) and math.isnan(value))


def _colors(comparison: Comparison) -> dict[str, Markup]:
    """By arm, as CSS; ink turns with the page."""
    styles = select_styles(comparison.cells["arm"], comparison.arm_styles)
    colors = {arm: style.color for arm, style in styles.items()}
    return {
        arm: Markup(f"var({CSS_VARIABLES[color]})" if color in CSS_VARIABLES else color)
        for arm, color in colors.items()
    }
