"""What is concluded from a sweep, and the files that say so."""

import math
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from runlab import atomic
from runlab.analysis.arms import ordered
from runlab.analysis.cautions import find_cautions, find_tuning
from runlab.analysis.cells import of_chosen, summarize_cells
from runlab.analysis.differences import naive_differences, pair_runs, tuned_differences
from runlab.analysis.figures import all_figures
from runlab.analysis.kept import read_curves, read_predictions
from runlab.analysis.markdown import to_markdown
from runlab.analysis.measure import ACCURACY, Measure
from runlab.analysis.mountain import read_mountain
from runlab.analysis.page import to_page
from runlab.analysis.palette import Style, styles
from runlab.analysis.predictions import confusion, reliability
from runlab.analysis.rendering import KINDS, render
from runlab.analysis.runs import counted, load
from runlab.analysis.speed import summarize_speed
from runlab.analysis.summary import summarize_arms
from runlab.analysis.terminal import to_terminal
from runlab.analysis.wording import conclude, listed
from runlab.text import plural

SHOWN = 12
"""Arms in figures and pages; the CSV files have all."""


@dataclass(frozen=True)
class Comparison:
    """A sweep's tables and sentences, in the measure's unit.

    As recorded, accuracies as fractions, in `runs` alone. `margin` is the difference that does not
    matter yet, None if there is none; `declared` says whether all runs declared it beforehand.
    """

    sweep: Path
    measure: Measure
    margin: float | None
    declared: bool
    runs: pd.DataFrame
    cells: pd.DataFrame
    arms: pd.DataFrame
    paired: pd.DataFrame
    differences: pd.DataFrame
    naive: pd.DataFrame
    history: pd.DataFrame
    speed: pd.DataFrame
    reliability: pd.DataFrame
    confusion: pd.DataFrame
    conclusions: list[str]
    warnings: list[str]

    @property
    def verdict(self) -> str:
        return self.conclusions[0]

    @property
    def folder(self) -> Path:
        suffix = "" if self.measure is ACCURACY else f"_{self.measure.name}"
        return self.sweep / f"comparison{suffix}"

    @property
    def looks(self) -> dict[str, Style]:
        """Of all arms, so that each looks the same wherever it is shown, and in whose company."""
        return styles(self.runs["arm"].dropna())

    @property
    def curves(self) -> pd.DataFrame:
        """The learning curves of the chosen cells; `history` has those of all runs."""
        return of_chosen(self.history, self.cells)

    @property
    def provenance(self) -> dict[str, list[str]]:
        outcomes = counted(self.runs)
        columns = ("hardware", "versions", "revision", "data_checksum")
        return {
            column.replace("_", " "): sorted(
                {str(kind) for kind in outcomes[column].dropna()} - {""}
            )
            for column in columns
        }

    def terminal(self) -> str:
        return to_terminal(self.shown())

    def shown(self) -> "Comparison":
        """With no more arms than a reader can take in: the best ones on validation."""
        if self.cells["arm"].nunique() <= SHOWN:
            return self
        ranked = self.arms.sort_values("val_mean", ascending=not self.measure.higher_is_better)
        named = [*ranked["arm"], *ordered(self.cells["arm"])]  # some may have no chosen cell
        best = set(list(dict.fromkeys(named))[:SHOWN])
        names = ("cells", "arms", "paired", "differences", "naive", "history", "speed")
        kept = {
            name: table[table["arm"].isin(best)]
            for name in (*names, "reliability", "confusion")
            for table in [getattr(self, name)]
        }
        for name in ("paired", "differences", "naive"):
            kept[name] = kept[name][kept[name]["other"].isin(best)]
        shown = kept["differences"].index  # a conclusion for each difference, where there are any
        conclusions = [self.conclusions[place] for place in shown] or self.conclusions
        left_out = (
            f"{self.cells['arm'].nunique()} arms are compared, of which the {SHOWN} best on "
            "validation are shown; the CSV files have all"
        )
        kept = {name: table.reset_index(drop=True) for name, table in kept.items()}
        return replace(self, conclusions=conclusions, warnings=[left_out, *self.warnings], **kept)

    def write(self) -> Path:
        """The folder `<sweep>/comparison`, for another measure `comparison_nll`; returns it.

        All files are made, then replaced one by one, each at once. A figure for which there is
        nothing to show any more is removed.
        """
        try:
            self.folder.mkdir(exist_ok=True)
            for name, content in list(self._files()):  # all are made before the first is replaced
                if content is None:
                    (self.folder / name).unlink(missing_ok=True)
                else:
                    atomic.replace(self.folder / name, content)
        except OSError as error:
            raise ValueError(
                f"expected to write the comparison into {self.folder}, got: {error.strerror}; "
                "free the place or its permissions and run scripts/compare.py again"
            ) from error
        return self.folder

    def _files(self) -> Iterator[tuple[str, bytes | None]]:
        for name in ("runs", "cells", "arms", "differences", "paired"):
            yield f"{name}.csv", getattr(self, name).to_csv(index=False).encode()
        yield "curves.csv", self.history.to_csv(index=False).encode()
        shown = self.shown()
        svgs: dict[str, str] = {}
        for name, figure in all_figures(shown).items():
            if figure is None:
                yield from ((f"{name}.{kind}", None) for kind in KINDS)
                continue
            files = render(figure, name)
            svgs[name] = files[f"{name}.svg"].decode()
            yield from files.items()
        mountain = read_mountain(self.folder, self.runs, self.cells)
        yield "comparison.md", to_markdown(shown, svgs, mountain and mountain[1]).encode()
        yield "comparison.html", to_page(shown, svgs, mountain).encode()


def compare(sweep: Path, measure: Measure = ACCURACY, margin: float | None = None) -> Comparison:
    """The comparison of all runs that have ended so far.

    Args:
        margin: the largest difference that does not matter, in the measure's unit. For accuracy the
            one that the runs declared, unless it is given here.

    Raises:
        ValueError: if no run has ended, the measure does not rank these runs, or no difference is
            within the margin.
    """
    if margin is not None and not 0 < margin < math.inf:
        raise ValueError(f"expected a margin above 0, got {margin}")
    sweep = Path(sweep).resolve()
    runs = load(sweep)
    outcomes = counted(runs)
    if outcomes.empty:
        raise ValueError(
            f"expected at least one finished run in {sweep}, got {_what_is_there(runs)}"
        )
    _require_comparable(outcomes, measure)
    declared = _declared(outcomes, measure)
    cautions = _margin_cautions(declared, margin)
    if margin is None:
        margin = min((each for each in declared if each is not None), default=None)
    cells = summarize_cells(runs, measure)
    arms = summarize_arms(runs, cells, measure)
    chosen = of_chosen(outcomes, cells)
    kept, unusable = read_predictions(sweep, chosen["run"])
    history, damaged = read_curves(sweep, outcomes)
    history = _in_percent(history)
    paired = pair_runs(runs, arms, measure)
    differences = tuned_differences(paired, arms, measure, margin, kept)
    problems = [
        *(unusable + damaged),
        *_missing("predictions", chosen["run"], kept),
        *_missing("curves", chosen["run"], set(history["run"])),
    ]
    return Comparison(
        sweep=sweep,
        measure=measure,
        margin=margin,
        declared=declared == [margin],
        runs=runs,
        cells=cells,
        arms=arms,
        paired=paired,
        differences=differences,
        naive=naive_differences(runs, cells, arms, measure),
        history=history,
        speed=summarize_speed(of_chosen(history, cells)),
        reliability=reliability(chosen, kept),
        confusion=confusion(chosen, kept),
        conclusions=conclude(arms, differences, measure, margin, find_tuning(cells)),
        warnings=[*find_cautions(runs, cells, arms, measure), *cautions, *problems],
    )


def _missing(what: str, runs: Iterable[str], kept: Collection[str]) -> list[str]:
    """Names the runs without it where others have it; where none has, it is absent altogether."""
    without = [run for run in runs if run not in kept]
    if not without or not kept:
        return []
    return [f"{plural(len(without), 'run')} of the chosen cells kept no {what}: {listed(without)}"]


def _require_comparable(outcomes: pd.DataFrame, measure: Measure) -> None:
    losses = sorted(set(outcomes["loss"]))
    if measure.name == "loss" and len(losses) > 1:
        raise ValueError(
            f"expected runs of one loss to compare by loss, got {', '.join(losses)}: each has a "
            "unit of its own; compare by accuracy, nll, brier or ece"
        )


def _declared(outcomes: pd.DataFrame, measure: Measure) -> list[float | None]:
    """The margins that the runs declared, the smallest first; None among them where one did not.

    They are of accuracy: none is declared of another measure.
    """
    if measure is not ACCURACY:
        return [None]
    margins = set(outcomes["margin"].dropna().astype(float))
    return [*sorted(margins), *([None] if outcomes["margin"].isna().any() else [])]


def _margin_cautions(declared: list[float | None], margin: float | None) -> list[str]:
    shown = ", ".join("none" if each is None else f"±{each:g}" for each in declared)
    if margin is not None and declared != [margin]:
        return [f"the margin ±{margin:g} was given afterwards; the runs declared {shown}"]
    if len(declared) > 1:
        return [f"the runs declared different margins ({shown}): the smallest is used"]
    return []


def _in_percent(history: pd.DataFrame) -> pd.DataFrame:
    accuracies = [column for column in history if str(column).endswith("/accuracy")]
    return history.assign(**{str(column): 100 * history[column] for column in accuracies})


def _what_is_there(runs: pd.DataFrame) -> str:
    groups = runs.groupby("status")["run"]
    found = [f"{len(names)} {status} ({listed(list(names), 3)})" for status, names in groups]
    return ", ".join(found) + "; wait for one to end, or look into what failed"
