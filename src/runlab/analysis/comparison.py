"""What is concluded from a sweep, as data: tables, sentences, and what was declared beforehand."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from pathlib import Path
from typing import Any

import pandas as pd

from runlab.analysis import reach
from runlab.analysis.cells import select_chosen
from runlab.analysis.conclusions import better_first, count_tests, reservations
from runlab.analysis.headlines import Card, figures, headline
from runlab.analysis.learning_rates import Rate
from runlab.analysis.outcomes import Outcomes
from runlab.analysis.palette import Style
from runlab.analysis.runs import ended_runs
from runlab.analysis.validity import find_tuning
from runlab.config.axes import Axes
from runlab.measure import Measure
from runlab.text import file_name

MOST_SHOWN = 12
"""Arms in figures and pages; the CSV files have all."""


@dataclass(frozen=True)
class Comparison:
    """A sweep's tables and sentences. Measures are in their units; as recorded in `runs` alone.

    Attributes:
        measure: what runs are compared by.
        measures: all that the runs declare alike.
        primary: the one of them that they declare to be primary; None if they differ in it.
        axes: the keys by which arms are named, and which is tuned for each.
        rate: the latter in words; None where no run has it: then an arm is one cell, and the tables
            have `NO_RATE` as its learning rate.
        margin: the difference that does not matter yet; None if there is none.
        margin_origin: who set it when, in words that go on after a comma.
        outcomes: the ends of runs that it is of.
        history: the learning curves of all runs.
        tables: those of sections, by name.
        arm_styles: of all arms, in the order in which they are shown.
        known_styles: of all arms that the configuration names.
        sections, outputs: importable names, as in the configuration.
        facts: what was trained, in a few words each, by name.
        commands: train these runs again; none where a search or several launches chose them.
        coverage: which sources of variance the seeds cover, and what was held equal, in sentences.
    """

    sweep: Path
    measure: Measure
    measures: tuple[Measure, ...]
    primary: Measure | None
    axes: Axes
    rate: Rate | None
    margin: float | None
    margin_origin: str
    runs: pd.DataFrame
    outcomes: Outcomes
    cells: pd.DataFrame
    arms: pd.DataFrame
    paired: pd.DataFrame
    differences: pd.DataFrame
    naive: pd.DataFrame
    history: pd.DataFrame
    speed: pd.DataFrame
    tables: Mapping[str, pd.DataFrame]
    arm_styles: Mapping[str, Style]
    known_styles: Mapping[str, Style]
    sections: tuple[str, ...]
    outputs: tuple[str, ...]
    facts: Mapping[str, str]
    commands: Sequence[str]
    conclusions: list[str]
    coverage: list[str]
    warnings: list[str]

    @property
    def verdict(self) -> str:
        return self.conclusions[0]

    @property
    def statements(self) -> list[tuple[str, str]]:
        """Each conclusion, and how repeatable it is; that is empty where it is not known."""
        repeatability = [reach.repeatability(row) for _, row in self.differences.iterrows()]
        return list(zip_longest(self.conclusions, repeatability, fillvalue=""))

    @property
    def cards(self) -> list[Card]:
        """Each conclusion on a pair of arms at one look."""
        tuning, tests = find_tuning(self.cells, self.rate), count_tests(self.differences)
        return [
            Card(
                headline=headline(row, self.measure, self.margin, self.known_styles),
                arms=better_first(row),
                figures=figures(row, self.measure, tests),
                reservations=reservations(row, self.arms, tuning),
                repeats=reach.repeats(row),
            )
            for _, row in self.differences.iterrows()
        ]

    @property
    def choices(self) -> list[str]:
        """Which values of the rate resamples of the seeds choose, where they differ."""
        return reach.choices(self.cells, self.measure)

    @property
    def folder(self) -> Path:
        """`<sweep>/comparison`; for another measure than the primary one `comparison_<name>`."""
        suffix = "" if self.measure == self.primary else f"_{file_name(self.measure.name)}"
        return self.sweep / f"comparison{suffix}"

    @property
    def other_measures(self) -> list[Measure]:
        """Those that stand beside the compared one in tables, as `test_<name>`."""
        return other_measures(self.measures, self.primary or self.measure)

    @property
    def curves(self) -> pd.DataFrame:
        """The learning curves of the chosen cells."""
        return select_chosen(self.history, self.cells)

    @property
    def provenance(self) -> dict[str, list[str]]:
        ended = ended_runs(self.runs)
        columns = ("hardware", "versions", "revision", "data_checksum")
        return {
            column.replace("_", " "): sorted({str(kind) for kind in ended[column].dropna()} - {""})
            for column in columns
        }

    def shown(self) -> "Comparison":
        """With no more arms than a reader can take in: the best ones on validation."""
        count = self.cells["arm"].nunique()
        if count <= MOST_SHOWN:
            return self
        ranked = self.arms.sort_values("val_mean", ascending=not self.measure.higher_is_better)
        named = [*ranked["arm"], *self.cells["arm"]]  # some may have no chosen cell
        best = set(list(dict.fromkeys(named))[:MOST_SHOWN])
        compared = self.differences[["arm", "other"]].isin(best).all(axis=1)
        # a conclusion for each difference, where there are any
        conclusions = [
            conclusion
            for conclusion, shown in zip(self.conclusions, compared, strict=False)
            if shown
        ] or self.conclusions
        left_out = (
            f"{count} arms are compared, of which the {MOST_SHOWN} best on validation are shown; "
            "the CSV files have all"
        )
        names = ("cells", "arms", "paired", "differences", "naive", "history", "speed")
        changes: dict[str, Any] = {name: _of_arms(getattr(self, name), best) for name in names}
        return replace(
            self,
            **changes,
            tables={name: _of_arms(table, best) for name, table in self.tables.items()},
            conclusions=conclusions,
            warnings=[left_out, *self.warnings],
        )


def other_measures(measures: tuple[Measure, ...], main: Measure) -> list[Measure]:
    """Those whose unit no loss changes, but for the main one."""
    return [each for each in measures if each.comparable and each.name != main.name]


def _of_arms(table: pd.DataFrame, arms: set[str]) -> pd.DataFrame:
    """The rows that are of these arms alone."""
    for column in ("arm", "other"):
        if column in table:
            table = table[table[column].isin(arms)]
    return table.reset_index(drop=True)
