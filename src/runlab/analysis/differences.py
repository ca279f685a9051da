"""Paired differences on the test set between arms: the same seed under both."""

import math
from collections.abc import Mapping
from itertools import combinations

import numpy as np
import pandas as pd

from runlab.analysis.arms import settings_of
from runlab.analysis.artifacts import SampleScores
from runlab.analysis.cells import has_sound_run, metric_values
from runlab.analysis.learning_rates import NO_RATE
from runlab.analysis.runs import ended_runs
from runlab.analysis.statistics import (
    Values,
    mean_interval,
    seeds_needed,
    superiority,
    two_way_interval,
)
from runlab.analysis.verdicts import EQUIVALENCE_CONFIDENCE, EVIDENCE, correct, judge, weigh
from runlab.measure import Measure

Cell = tuple[str, float]
"""An arm and a learning rate."""

PAIRED = ["arm", "other", "seed", "value", "other_value", "difference", "run", "other_run"]
TUNED = ["arm", "other", "learning_rate", "other_learning_rate", "pairs", "difference", "sd"]
TUNED += ["low", "high", "p", "equivalence_low", "equivalence_high", "p_equivalent"]
TUNED += ["superiority", "superiority_low", "superiority_high", "samples_low", "samples_high"]
NAIVE = ["arm", "other", "learning_rate", "pairs", "difference", "low", "high"]
MOST_PAIRS = 100
"""Beyond it every arm is compared with the best alone: so many tests would conclude nothing."""


def comparable_pairs(arms: pd.DataFrame, higher_is_better: bool) -> list[tuple[int, int]]:
    """Positions of the pairs of arms to compare: those in which one setting alone differs.

    All pairs, where there is no such pair. Of more than 100 pairs those with the best arm on
    validation.
    """
    pairs = list(combinations(range(len(arms)), 2)) if len(arms) <= 1_000 else []
    if len(pairs) > MOST_PAIRS or len(arms) > 1_000:
        score = arms["val_mean"] * (1 if higher_is_better else -1)
        best = int(np.argmax(score.fillna(-math.inf)))
        pairs = [(best, other) for other in range(len(arms)) if other != best]
    settings = settings_of(arms)
    single = [(a, b) for a, b in pairs if len(differing_settings(settings[a], settings[b])) == 1]
    return single or pairs


def differing_settings(settings: Mapping[str, object], others: Mapping[str, object]) -> list[str]:
    """The settings in which two arms differ; one that only one of them has follows from another."""
    return [
        key
        for key, value in settings.items()
        if isinstance(value, str) and isinstance(others[key], str) and value != others[key]
    ]


def pair_runs(runs: pd.DataFrame, arms: pd.DataFrame, measure: Measure) -> pd.DataFrame:
    """One row a pair of arms and common seed, each arm at its chosen learning rate."""
    by_seed = _by_seed(runs, measure)
    cells = list(zip(arms["arm"], arms["learning_rate"], strict=True))
    rows = [
        row
        for a, b in comparable_pairs(arms, measure.higher_is_better)
        for row in _pair_cells(by_seed, cells[a], cells[b])
    ]
    return pd.DataFrame(rows, columns=PAIRED)


def tuned_differences(
    paired: pd.DataFrame,
    arms: pd.DataFrame,
    measure: Measure,
    margin: float | None,
    scores: Mapping[str, SampleScores],
) -> pd.DataFrame:
    """`arm` minus `other` on the test set, in the measure's unit, each at its chosen rate.

    Over the seeds that both ran. `low` and `high` are Student's 95% interval, `equivalence_*` his
    90% one, `samples_*` that over seeds and samples; `p` is the permutation test's, `p_equivalent`
    that of two one-sided t tests against the margin; `*_holm` are corrected over all rows.
    `superiority` is the share of seeds for which `arm` is the better one. `verdict` is a `Verdict`.

    Args:
        scores: of single test samples, by run, as far as runs have them.
    """
    of_pair = dict(list(paired.groupby(["arm", "other"])))
    chosen = dict(zip(arms["arm"], arms["learning_rate"], strict=True))
    names = arms["arm"].tolist()
    pairs = [(names[a], names[b]) for a, b in comparable_pairs(arms, measure.higher_is_better)]
    rows = [
        {
            "arm": arm,
            "other": other,
            "learning_rate": chosen[arm],
            "other_learning_rate": chosen[other],
            **_difference(of_pair.get((arm, other), paired[:0]), measure, margin, scores),
        }
        for arm, other in pairs
    ]
    table = pd.DataFrame(rows, columns=TUNED)
    evidence = {name: table[name].to_numpy(dtype=float) for name in EVIDENCE}
    evidence |= correct(evidence)
    sound = dict(zip(names, has_sound_run(arms), strict=True))
    none_sound = np.array([not (sound[arm] or sound[other]) for arm, other in pairs], dtype=bool)
    verdicts = judge(evidence, none_sound, measure.higher_is_better)
    corrected = {name: evidence[name] for name in ("p_holm", "p_equivalent_holm")}
    return table.assign(**corrected, verdict=verdicts)


def naive_differences(
    runs: pd.DataFrame, cells: pd.DataFrame, arms: pd.DataFrame, measure: Measure
) -> pd.DataFrame:
    """`arm` minus `other` at one learning rate for both, which favours the arm that it suits."""
    by_seed = _by_seed(runs, measure)
    tried = cells.groupby("arm")["learning_rate"].agg(set).to_dict()
    names = arms["arm"].tolist()
    rows = []
    for a, b in comparable_pairs(arms, measure.higher_is_better):
        for learning_rate in sorted((tried[names[a]] & tried[names[b]]) - {NO_RATE}):
            paired = _pair_cells(by_seed, (names[a], learning_rate), (names[b], learning_rate))
            differences = np.array([row[PAIRED.index("difference")] for row in paired], dtype=float)
            rows.append((names[a], names[b], learning_rate, *_effect(differences)))
    return pd.DataFrame(rows, columns=NAIVE)


def _by_seed(runs: pd.DataFrame, measure: Measure) -> dict[Cell, dict[int, tuple[float, str]]]:
    """Value on the test set and name of each run: by arm and learning rate, then by seed."""
    ended = ended_runs(runs)
    reached = metric_values(ended, f"test/{measure.name}", measure.scale)
    by_seed: dict[Cell, dict[int, tuple[float, str]]] = {}
    columns = (ended[name] for name in ("arm", "learning_rate", "seed", "run"))
    for arm, learning_rate, seed, run, value in zip(*columns, reached, strict=True):
        by_seed.setdefault((arm, learning_rate), {})[int(seed)] = (value, run)
    return by_seed


def _pair_cells(
    by_seed: Mapping[Cell, Mapping[int, tuple[float, str]]], cell: Cell, other: Cell
) -> list[tuple[object, ...]]:
    mine, theirs = by_seed[cell], by_seed[other]
    return [
        (
            *(cell[0], other[0], seed),
            *(mine[seed][0], theirs[seed][0], mine[seed][0] - theirs[seed][0]),
            *(mine[seed][1], theirs[seed][1]),
        )
        for seed in sorted(mine.keys() & theirs.keys())
    ]


def _effect(differences: Values) -> tuple[int, float, float, float]:
    mean = float(np.mean(differences)) if len(differences) else math.nan
    return len(differences), mean, *mean_interval(differences)


def _difference(
    paired: pd.DataFrame, measure: Measure, margin: float | None, scores: Mapping[str, SampleScores]
) -> dict[str, float]:
    differences = paired["difference"].to_numpy(dtype=float)
    evidence = {name: float(value[0]) for name, value in weigh(differences[None], margin).items()}
    better = differences if measure.higher_is_better else -differences
    share = zip(("", "_low", "_high"), superiority(better), strict=True)
    equivalence_low, equivalence_high = mean_interval(differences, EQUIVALENCE_CONFIDENCE)
    samples_low, samples_high = _samples_interval(paired, measure, scores)
    return {
        **evidence,
        "pairs": len(differences),
        "sd": float(np.std(differences, ddof=1)) if len(differences) > 1 else math.nan,
        "equivalence_low": equivalence_low,
        "equivalence_high": equivalence_high,
        **{f"superiority{end}": value for end, value in share},
        "samples_low": samples_low,
        "samples_high": samples_high,
    }


def _samples_interval(
    paired: pd.DataFrame, measure: Measure, scores: Mapping[str, SampleScores]
) -> tuple[float, float]:
    """NaN with too few seeds, or where not every run has scores of the same test samples."""
    runs = [*paired["run"], *paired["other_run"]]
    if len(paired) < seeds_needed(1) or not scores.keys() >= set(runs):
        return math.nan, math.nan
    targets = scores[runs[0]].targets
    if not all(np.array_equal(scores[run].targets, targets) for run in runs):
        return math.nan, math.nan
    table = np.array([scores[run].scores for run in runs])  # [2 seeds, samples]
    first, second = table[: len(paired)], table[len(paired) :]
    low, high = two_way_interval(first - second)
    return measure.scale * low, measure.scale * high
