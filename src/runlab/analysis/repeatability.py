"""How repeatable each verdict is: the seeds drawn anew, and all that follows from them.

A resample draws as many seeds as there are, with replacement, the same for all arms: so its pairs
stay pairs. It chooses each arm's learning rate by the drawn seeds and judges by the same rule.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from runlab.analysis.cells import choose_cells, metric_values
from runlab.analysis.runs import ended_runs
from runlab.analysis.statistics import Values, seeds_needed
from runlab.analysis.verdicts import EVIDENCE, Verdict, correct, judge, weigh
from runlab.measure import Measure
from runlab.runs.record import UNSOUND

MOST_RESAMPLES, FEWEST_RESAMPLES = 1_000, 200
VERDICTS = 20_000
"""Over all pairs of arms: with more than 20 of them there are fewer resamples."""

SHARES = {
    "repeat_arm_better": (Verdict.ARM_BETTER,),
    "repeat_other_better": (Verdict.OTHER_BETTER,),
    "repeat_equivalent": (Verdict.EQUIVALENT,),
    "repeat_undecided": (Verdict.UNDECIDED,),
    "repeat_none": (
        Verdict.TOO_FEW, Verdict.UNKNOWN, Verdict.UNPAIRED, Verdict.NONE_SOUND,
    ),
}  # fmt: skip
"""Columns of the shares of resamples, by the verdicts that each counts."""


@dataclass(frozen=True)
class Arm:
    """An arm's runs as arrays [learning rates, seeds]; NaN where there is none.

    Attributes:
        present: where there is a run; unsound: where it diverged or collapsed.
    """

    rates: list[float]
    present: NDArray[np.bool_]
    unsound: NDArray[np.bool_]
    val: Values
    test: Values


def add_repeatability(
    runs: pd.DataFrame,
    cells: pd.DataFrame,
    differences: pd.DataFrame,
    measure: Measure,
    margin: float | None,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Both tables with what resamples of the seeds say.

    Cells get `chosen_share`, in how many of them each is chosen. Differences get `resamples`, their
    number, and `repeat_*`, in how many of them each verdict is reached: 0 and NaN where there is no
    verdict to repeat. With fewer than 6 seeds nothing is drawn.
    """
    ended = ended_runs(runs)
    seeds = sorted({int(seed) for seed in ended["seed"]})
    cells = cells.assign(chosen_share=np.nan)
    differences = differences.assign(resamples=0, **dict.fromkeys(SHARES, np.nan))
    if len(seeds) < seeds_needed(1):
        return cells, differences
    draws = _draw(len(seeds), len(differences))
    arms = {str(arm): _arm(own, seeds, measure) for arm, own in ended.groupby("arm")}
    chosen = {arm: _choose(own, draws, measure) for arm, own in arms.items()}
    cells["chosen_share"] = [
        float(np.mean(chosen[arm] == arms[arm].rates.index(learning_rate)))
        for arm, learning_rate in zip(cells["arm"], cells["learning_rate"], strict=True)
    ]
    pairs = list(zip(differences["arm"], differences["other"], strict=True))
    if pairs:
        verdicts = _judge(arms, chosen, draws, pairs, measure, margin)
        reached = ~differences["verdict"].isin(SHARES["repeat_none"])
        differences.loc[reached, "resamples"] = len(draws)
        for column, kinds in SHARES.items():
            shares = np.isin(verdicts, [kind.value for kind in kinds]).mean(axis=0)
            differences[column] = np.where(reached, shares, np.nan)
    return cells, differences


def _draw(seeds: int, pairs: int) -> NDArray[np.intp]:
    """Places of seeds [resamples, seeds], always the same."""
    affordable = VERDICTS // max(pairs, 1)
    resamples = min(MOST_RESAMPLES, max(FEWEST_RESAMPLES, affordable))
    return np.random.default_rng(0).integers(seeds, size=(resamples, seeds))


def _arm(runs: pd.DataFrame, seeds: Sequence[int], measure: Measure) -> Arm:
    rates = sorted({float(rate) for rate in runs["learning_rate"]})
    rows = np.searchsorted(rates, runs["learning_rate"].to_numpy(dtype=float))
    columns = np.searchsorted(seeds, runs["seed"].to_numpy(dtype=int))

    def table(values: NDArray, absent: float) -> NDArray:
        whole = np.full((len(rates), len(seeds)), absent, dtype=values.dtype)
        whole[rows, columns] = values
        return whole

    val, test = (
        metric_values(runs, f"{split}/{measure.name}", measure.scale).to_numpy()
        for split in ("val", "test")
    )
    return Arm(
        rates=rates,
        present=table(np.ones(len(runs), dtype=bool), False),
        unsound=table(runs["status"].isin(UNSOUND).to_numpy(dtype=bool), False),
        val=table(val, np.nan),
        test=table(test, np.nan),
    )


def _choose(arm: Arm, draws: NDArray[np.intp], measure: Measure) -> NDArray[np.intp]:
    """The place of the chosen learning rate in each resample; -1 where there is none."""
    means, counts = np.empty((2, len(draws), len(arm.rates)))
    for place, (val, present) in enumerate(zip(arm.val, arm.present, strict=True)):
        counts[:, place] = present[draws].sum(axis=1)
        total = np.where(present, val, 0.0)[draws].sum(axis=1)  # a run without a value is NaN
        means[:, place] = total / np.maximum(counts[:, place], 1)
    if len(arm.rates) == 1 and (arm.present & ~arm.unsound).any():
        means[:] = 0.0  # an only cell needs no mean to be chosen
    return choose_cells(means, counts, measure.higher_is_better)


def _judge(
    arms: dict[str, Arm],
    chosen: dict[str, NDArray[np.intp]],
    draws: NDArray[np.intp],
    pairs: Sequence[tuple[str, str]],
    measure: Measure,
    margin: float | None,
) -> NDArray:
    """Verdicts [resamples, pairs of arms]."""
    shape = len(draws), len(pairs)
    none_sound = np.zeros(shape, dtype=bool)
    evidence = {name: np.full(shape, 0.0 if name == "pairs" else np.nan) for name in EVIDENCE}
    for column, (arm, other) in enumerate(pairs):
        for rows, cell, other_cell in _same_choice(chosen[arm], chosen[other]):
            drawn = draws[rows]
            none_sound[rows, column] = _none_sound(arms[arm], cell, drawn)
            none_sound[rows, column] &= _none_sound(arms[other], other_cell, drawn)
            common = arms[arm].present[cell] & arms[other].present[other_cell]
            differences = arms[arm].test[cell] - arms[other].test[other_cell]
            for same, seeds in _by_count(common, drawn):
                for name, values in weigh(differences[seeds], margin).items():
                    evidence[name][rows[same], column] = values
    return judge(evidence | correct(evidence), none_sound, measure.higher_is_better)


def _same_choice(
    chosen: NDArray[np.intp], other: NDArray[np.intp]
) -> Iterator[tuple[NDArray[np.intp], int, int]]:
    """The resamples in which two arms' choices are these two, for each two that there are."""
    for cell, other_cell in np.unique(np.stack([chosen, other], axis=1), axis=0).tolist():
        if cell >= 0 and other_cell >= 0:
            yield np.flatnonzero((chosen == cell) & (other == other_cell)), cell, other_cell


def _none_sound(arm: Arm, cell: int, drawn: NDArray[np.intp]) -> NDArray[np.bool_]:
    return (arm.unsound[cell] | ~arm.present[cell])[drawn].all(axis=1)


def _by_count(
    common: NDArray[np.bool_], drawn: NDArray[np.intp]
) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """Resamples with equally many drawn seeds in common; and those seeds [resamples, seeds]."""
    is_common = common[drawn]
    counts = is_common.sum(axis=1)
    first = np.argsort(~is_common, axis=1, kind="stable")  # those in common come first
    for count in np.unique(counts).tolist():
        same = np.flatnonzero(counts == count)
        yield same, np.take_along_axis(drawn[same], first[same, :count], axis=1)
