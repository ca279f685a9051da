"""The files of a comparison: tables, figures, a page and the same in Markdown."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import pandas as pd
from markupsafe import Markup
from matplotlib.figure import Figure

from runlab import atomic, program
from runlab.analysis.cells import select_chosen
from runlab.analysis.comparison import Comparison
from runlab.analysis.figures import (
    grid_figure,
    learning_curves_figure,
    paired_figure,
    sensitivity_figure,
)
from runlab.analysis.learning_rates import NO_RATE, Rate
from runlab.analysis.markdown import to_markdown
from runlab.analysis.outcomes import CONCLUSION, Conclusion
from runlab.analysis.page import to_page
from runlab.analysis.papers import to_latex, to_paragraph
from runlab.analysis.rendering import FORMATS, csv_parts, embedded_svg, inline_svg, render
from runlab.analysis.runs import ended_runs
from runlab.analysis.section import Section, load_sections

ALT_TEXTS = {
    "sensitivity": "Validation score against the setting that is tuned, a line for each arm",
    "learning_curves": "Validation score against epochs, a line for each arm",
    "paired": "Difference between two arms for each seed, with mean and interval",
    "grid": "Mean validation score of every cell",
}


def write(comparison: Comparison) -> Path:
    """The folder `<sweep>/comparison`, for another measure `comparison_<name>`; returns it.

    All files are made, then replaced one by one, each at once. A figure for which there is
    nothing to show any more is removed.

    Raises:
        ValueError: if they cannot be written.
    """
    folder = comparison.folder
    try:
        folder.mkdir(exist_ok=True)
        atomic.replace_all((folder / name, content) for name, content in _files(comparison))
    except OSError as error:
        raise ValueError(
            f"expected to write the comparison into {folder}, got: {error.strerror}; "
            f"free the place or its permissions and run {program.name()} compare again"
        ) from error
    return folder


def figure_names(comparison: Comparison) -> list[str]:
    """All that a page of this comparison may have, in its order, whether they are there or not."""
    return list(_alt_texts(load_sections(comparison.sections)[0]))


def _alt_texts(sections: Sequence[Section]) -> dict[str, str]:
    return ALT_TEXTS | {name: text for each in sections for name, text in each.alt_texts.items()}


def _files(comparison: Comparison) -> Iterator[tuple[str, Iterable[bytes] | None]]:
    """Names and contents, which are made when they are asked for."""
    for name in ("runs", "cells", "arms", "differences", "paired"):
        yield f"{name}.csv", csv_parts(_with_rates(getattr(comparison, name), comparison.rate))
    yield "curves.csv", csv_parts(_with_rates(comparison.history, comparison.rate))
    yield CONCLUSION, [_conclusion(comparison).to_json().encode()]
    shown = comparison.shown()
    sections, _ = load_sections(comparison.sections)
    alt_texts = _alt_texts(sections)
    applying = [section for section in sections if section.applies(shown)]
    absent = [name for each in sections if each not in applying for name in each.alt_texts]
    drawings: dict[str, Markup] = {}
    for name, figure in {**draw_figures(shown, applying), **dict.fromkeys(absent)}.items():
        if isinstance(figure, str):
            drawings[name] = embedded_svg(figure, alt_texts[name])
        elif figure is None:
            yield from ((f"{name}.{extension}", None) for extension in FORMATS)
        else:
            files = render(figure, name)
            svg = files[f"{name}.svg"].decode()
            drawings[name] = inline_svg(svg, name, alt_texts[name])
            yield from ((name, [content]) for name, content in files.items())
    yield "papers.tex", [to_latex(shown).encode()]
    yield "papers.txt", [f"{to_paragraph(shown)}\n".encode()]
    yield "comparison.md", [to_markdown(shown, drawings, alt_texts, applying).encode()]
    yield "comparison.html", [to_page(shown, drawings, applying).encode()]


def _conclusion(comparison: Comparison) -> Conclusion:
    chosen = select_chosen(ended_runs(comparison.runs), comparison.cells)
    return Conclusion(
        verdict=comparison.verdict,
        headlines=[card.headline for card in comparison.cards],
        conclusions=comparison.conclusions,
        measure=comparison.measure.name,
        arms=comparison.arms["arm"].tolist(),
        chosen=chosen["run"].tolist(),
        ended=comparison.outcomes,
    )


def _with_rates(table: pd.DataFrame, rate: Rate | None) -> pd.DataFrame:
    """The columns of learning rates by the key that they are of; none where nothing is tuned."""
    columns = [name for name in ("learning_rate", "other_learning_rate") if name in table]
    if rate is None:
        return table.drop(columns=columns)
    known = table.assign(**{name: table[name].replace(NO_RATE, math.nan) for name in columns})
    names = {name: name.replace("learning_rate", rate.key) for name in columns}
    return known if rate.is_learning_rate else known.rename(columns=names)


def draw_figures(
    comparison: Comparison, sections: Sequence[Section]
) -> Mapping[str, Figure | str | None]:
    """By name, as `Section.figures` returns them: the engine's own, then those of sections."""
    cells, measure, styles = comparison.cells, comparison.measure, comparison.arm_styles
    paired, differences, rate = comparison.paired, comparison.differences, comparison.rate
    figures: dict[str, Figure | str | None] = {
        "sensitivity": sensitivity_figure(cells, measure, styles, rate),
        "learning_curves": learning_curves_figure(
            comparison.curves, measure, comparison.measures, styles, rate
        ),
        "paired": paired_figure(paired, differences, comparison.margin, measure, styles),
        "grid": grid_figure(cells, measure, styles, rate),
    }
    for section in sections:
        figures |= section.figures(comparison)
    return figures
