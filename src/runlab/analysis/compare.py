"""From the runs of a sweep to what is concluded from them."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from runlab.analysis.artifacts import find_missing, read_curves
from runlab.analysis.cells import (
    milestone_measure,
    select_chosen,
    summarize_arms,
    summarize_cells,
    summarize_speed,
)
from runlab.analysis.comparison import Comparison, other_measures
from runlab.analysis.conclusions import conclude
from runlab.analysis.declarations import Agreement, agree, agree_on_axes
from runlab.analysis.differences import naive_differences, pair_runs, tuned_differences
from runlab.analysis.formatting import listed
from runlab.analysis.learning_rates import find_rate
from runlab.analysis.margins import Margin, find_margin
from runlab.analysis.outcomes import Outcomes
from runlab.analysis.palette import arm_styles
from runlab.analysis.reach import coverage
from runlab.analysis.repeatability import add_repeatability
from runlab.analysis.runs import ended_runs, load
from runlab.analysis.section import Findings, Section, load_sections
from runlab.analysis.validity import (
    find_missing_keys,
    find_mixed_losses,
    find_tuning,
    find_warnings,
)
from runlab.analysis.variation import Variation
from runlab.config.axes import Axes
from runlab.measure import Measure


def compare(
    sweep: str | Path,
    metric: str | None = None,
    margin: float | None = None,
    arm: str | None = None,
    rate: str | None = None,
) -> Comparison:
    """The comparison of all runs that have ended so far.

    Args:
        metric: the measure to compare by; by default the one that the runs declare to be primary.
        margin: the largest difference that does not matter, in the measure's unit; by default the
            one that the runs declared for this measure.
        arm, rate: keys in place of the runs' `comparison.arm` and `comparison.rate`; `null` for
            none.

    Raises:
        ValueError: if no run has ended, the runs differ in a key, the measure does not rank them,
            or no difference is within the margin.
    """
    if margin is not None and not 0 < margin < math.inf:
        raise ValueError(f"expected a margin above 0, got {margin}")
    sweep = Path(sweep).expanduser().resolve()
    runs, declarations, variation, outcomes = load(sweep, arm, rate)
    ended = ended_runs(runs)
    if ended.empty:
        raise ValueError(
            f"expected at least one finished run in {sweep}, got {_what_is_there(runs)}"
        )
    counted = {run: declarations[run] for run in ended["run"]}
    agreement, axes = agree(counted, metric), agree_on_axes(counted, arm, rate)
    _require_comparable(ended, agreement)
    with np.errstate(over="ignore"):  # what no float can hold is infinite, and shown as such
        recorded = [declarations[run].margins.get(agreement.measure.name) for run in ended["run"]]
        found = find_margin(recorded, ended["margin_set"], margin)
        return _conclude(sweep, runs, outcomes, agreement, axes, variation, found)


def _conclude(
    sweep: Path,
    runs: pd.DataFrame,
    outcomes: Outcomes,
    agreement: Agreement,
    axes: Axes,
    variation: Variation,
    margin: Margin,
) -> Comparison:
    ended, measure, measures = ended_runs(runs), agreement.measure, agreement.measures
    rate = find_rate(ended["learning_rate"], axes.rate)
    styles = arm_styles(runs["arm"].dropna(), agreement.known_styles)
    others = other_measures(measures, agreement.primary or measure)
    cells = summarize_cells(runs, measure, others, list(styles))
    arms = summarize_arms(runs, cells, measure, others)
    chosen = select_chosen(ended, cells)
    sections, absent_sections = load_sections(agreement.sections)
    found = _analyze(sections, sweep, chosen, measure)
    history, damaged = read_curves(sweep, ended, measures)
    paired = pair_runs(runs, arms, measure)
    differences = tuned_differences(paired, arms, measure, margin.value, found.scores)
    cells, differences = add_repeatability(runs, cells, differences, measure, margin.value)
    milestones = milestone_measure(measure, measures)
    return Comparison(
        sweep=sweep,
        measure=measure,
        measures=measures,
        primary=agreement.primary,
        axes=axes,
        rate=rate,
        margin=margin.value,
        margin_origin=margin.origin,
        runs=runs,
        outcomes=outcomes,
        cells=cells,
        arms=arms,
        paired=paired,
        differences=differences,
        naive=naive_differences(runs, cells, arms, measure),
        history=history,
        speed=summarize_speed(select_chosen(history, cells), milestones),
        tables=found.tables,
        arm_styles=styles,
        known_styles=agreement.known_styles,
        sections=agreement.sections,
        outputs=agreement.outputs,
        facts=variation.facts,
        commands=variation.commands,
        conclusions=conclude(arms, differences, measure, margin.value, find_tuning(cells, rate)),
        coverage=coverage(variation, rate),
        warnings=[
            *find_warnings(runs, cells, arms, measure, list(styles), rate),
            *find_missing_keys(runs, axes, rate),
            *find_mixed_losses(measure, variation),
            *agreement.warnings,
            *margin.warnings,
            *absent_sections,
            *found.warnings,
            *damaged,
            *find_missing("curves", chosen["run"], set(history["run"])),
        ],
    )


def _analyze(
    sections: Sequence[Section], sweep: Path, chosen: pd.DataFrame, measure: Measure
) -> Findings:
    """What all sections find, together."""
    found = [section.analyze(sweep, chosen, measure) for section in sections]
    return Findings(
        tables={name: table for each in found for name, table in each.tables.items()},
        scores={run: scores for each in found for run, scores in each.scores.items()},
        warnings=[sentence for each in found for sentence in each.warnings],
    )


def _require_comparable(ended: pd.DataFrame, agreement: Agreement) -> None:
    losses = sorted(set(ended["loss"].dropna()))
    if agreement.measure.comparable or len(losses) < 2:
        return
    names = [each.name for each in agreement.measures if each.comparable]
    ways = " or ".join(filter(None, (", ".join(names[:-1]), *names[-1:]))) or "another measure"
    raise ValueError(
        f"expected runs of one loss to compare by {agreement.measure.name}, got "
        f"{', '.join(losses)}: each has a unit of its own; compare by {ways}"
    )


def _what_is_there(runs: pd.DataFrame) -> str:
    groups = runs.groupby("status")["run"]
    found = [f"{len(names)} {status} ({listed(list(names), 3)})" for status, names in groups]
    problems = runs.loc[runs["status"] == "unreadable", "problem"]
    if len(problems) == len(runs):
        return f"{', '.join(found)}: {problems.iloc[0]}"
    return ", ".join(found) + "; wait for one to end, or look into what failed"
