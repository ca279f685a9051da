"""A section: a part of the comparison that the engine does not know, named in YAML.

`comparison.sections` lists importable classes derived from `Section`. Each may add tables, scores
of single test samples, figures, a part of the page and of the Markdown file. What it overrides
none of does nothing.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import pandas as pd
from matplotlib.figure import Figure

from runlab.analysis.artifacts import SampleScores
from runlab.analysis.comparison import Comparison
from runlab.config.targets import find
from runlab.measure import Measure


@dataclass(frozen=True)
class Findings:
    """What a section reads from the runs of a sweep.

    Attributes:
        tables: by name; those with a column `arm` are shown for the arms that are shown.
        scores: by run.
        warnings: sentences on what could mislead a reader.
    """

    tables: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    scores: Mapping[str, SampleScores] = field(default_factory=dict)
    warnings: Sequence[str] = ()


class Section:
    """To derive from. It is made without arguments, and keeps nothing between its calls.

    Attributes:
        id: of its heading in the page.
        template: the file of its part of the page, in Jinja; it gets what the page gets, and
            `section`. None for a section that the page does not show.
        alt_texts: of all figures that it may have, in their order: for who cannot see them.
        curves: titles of columns of the learning curves, as in `val/<name>`, beside the measures:
            for outputs that draw curves.
    """

    id: ClassVar[str] = ""
    title: ClassVar[str] = ""
    template: ClassVar[Path | None] = None
    alt_texts: ClassVar[Mapping[str, str]] = {}
    curves: ClassVar[Mapping[str, str]] = {}

    def analyze(self, sweep: Path, chosen: pd.DataFrame, measure: Measure) -> Findings:
        """Called by `compare`.

        Args:
            chosen: the rows of the runs table that belong to chosen cells, arm after arm.
            measure: what runs are compared by.
        """
        return Findings()

    def applies(self, comparison: Comparison) -> bool:
        """Whether it has anything to say of these runs; otherwise it is no part of the page."""
        return True

    def figures(self, comparison: Comparison) -> Mapping[str, Figure | str | None]:
        """Its figures by name, for the arms that are shown.

        A Figure is written to `<name>.png` and `<name>.svg`. A string is the SVG of one that lies
        in the comparison's folder already. None removes the files of an earlier comparison.
        """
        return {}

    def to_markdown(self, comparison: Comparison) -> str:
        """Its text in Markdown, without title and figures, which come before and after it."""
        return ""


def load_sections(names: Iterable[str]) -> tuple[list[Section], list[str]]:
    """An instance of each; and a sentence for each that is left out."""
    return load_named("section", names, make_section, Section)


def make_section(kind: Callable[[], Any]) -> Section:
    """Raises ValueError if it cannot be made, or is something else."""
    try:
        made = kind()
    except Exception as error:  # of whatever class it is
        raise ValueError(f"expected to make it without arguments, got {told(error)}") from error
    if not isinstance(made, Section):
        raise ValueError(f"expected a Section, got a {type(made).__name__}")
    return made


def load_named(
    role: str, names: Iterable[str], use: Callable[[Any], Any], *bases: type
) -> tuple[list[Any], list[str]]:
    """What records name and may; and a sentence for each name that is left out.

    Args:
        use: gives what is made of what was found, and raises ValueError for what cannot be used.
    """
    found: list[Any] = []
    problems: list[str] = []
    for name in names:
        try:
            found.append(use(find(f"comparison.{role}s", name, *bases, strictly=True)))
        except ValueError as error:
            problems.append(f"the {role} {name} is left out: {error}")
    return found, problems


def told(error: Exception) -> str:
    """An exception of somebody else's code, in one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())
