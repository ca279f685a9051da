"""Paired differences on the test set between arms: the same seed under two losses."""

import math
from collections.abc import Mapping
from itertools import combinations

import numpy as np
import pandas as pd

from runlab.analysis.arms import settings_of
from runlab.analysis.cells import values
from runlab.analysis.kept import Predictions
from runlab.analysis.measure import Measure
from runlab.analysis.runs import counted
from runlab.analysis.statistics import (
    Values,
    equivalence_p_value,
    holm,
    mean_interval,
    permutation_p_value,
    seeds_needed,
    superiority,
    two_way_interval,
)

Cell = tuple[str, float]
"""An arm and a learning rate."""

PAIRED = ["arm", "other", "seed", "value", "other_value", "difference", "run", "other_run"]
TUNED = ["arm", "other", "learning_rate", "other_learning_rate", "pairs", "difference", "sd"]
TUNED += ["low", "high", "p", "equivalence_low", "equivalence_high", "p_equivalent"]
TUNED += ["superiority", "superiority_low", "superiority_high", "images_low", "images_high"]
NAIVE = ["arm", "other", "learning_rate", "pairs", "difference", "low", "high"]
EQUIVALENCE_CONFIDENCE = 0.90
"""Of the interval that lies within the margin exactly when two one-sided 5% tests say so."""
MOST_PAIRS = 100
"""Beyond it every arm is compared with the best alone: so many tests would conclude nothing."""


def comparable(arms: pd.DataFrame, higher_is_better: bool) -> list[tuple[int, int]]:
    """Positions of the pairs of arms to compare: those in which one setting alone differs.

    All pairs, where there is no such pair. Of more than 100 pairs those with the best arm on
    validation.
    """
    pairs = list(combinations(range(len(arms)), 2)) if len(arms) <= 1_000 else []
    if len(pairs) > MOST_PAIRS or len(arms) > 1_000:
        mean = arms["val_mean"].to_numpy()
        best = int(np.argmax(mean) if higher_is_better else np.argmin(mean))
        pairs = [(best, other) for other in range(len(arms)) if other != best]
    settings = settings_of(arms)
    single = [(a, b) for a, b in pairs if len(differing(settings[a], settings[b])) == 1]
    return single or pairs


def differing(settings: Mapping[str, object], others: Mapping[str, object]) -> list[str]:
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
        for a, b in comparable(arms, measure.higher_is_better)
        for row in _paired(by_seed, cells[a], cells[b])
    ]
    return pd.DataFrame(rows, columns=PAIRED)


def tuned_differences(
    paired: pd.DataFrame,
    arms: pd.DataFrame,
    measure: Measure,
    margin: float | None,
    kept: Mapping[str, Predictions],
) -> pd.DataFrame:
    """`arm` minus `other` on the test set, in the measure's unit, each at its chosen rate.

    Over the seeds that both ran. `low` and `high` are Student's 95% interval, `equivalence_*` his
    90% one, `images_*` that over seeds and images; `p` is the permutation test's, `p_equivalent`
    that of two one-sided t tests against the margin; `*_holm` are corrected over all rows.
    `superiority` is the probability that `arm` is the better one for a seed.
    """
    of_pair = dict(list(paired.groupby(["arm", "other"])))
    rates = dict(zip(arms["arm"], arms["learning_rate"], strict=True))
    names = arms["arm"].tolist()
    pairs = [(names[a], names[b]) for a, b in comparable(arms, measure.higher_is_better)]
    rows = [
        {
            "arm": arm,
            "other": other,
            "learning_rate": rates[arm],
            "other_learning_rate": rates[other],
            **_tuned(of_pair.get((arm, other), paired[:0]), measure, margin, kept),
        }
        for arm, other in pairs
    ]
    table = pd.DataFrame(rows, columns=TUNED)
    for p in ("p", "p_equivalent"):
        table[f"{p}_holm"] = holm(table[p].tolist())
    return table


def naive_differences(
    runs: pd.DataFrame, cells: pd.DataFrame, arms: pd.DataFrame, measure: Measure
) -> pd.DataFrame:
    """`arm` minus `other` at one learning rate for both, which favours the arm that it suits."""
    by_seed = _by_seed(runs, measure)
    rates = cells.groupby("arm")["learning_rate"].agg(set).to_dict()
    names = arms["arm"].tolist()
    rows = []
    for a, b in comparable(arms, measure.higher_is_better):
        for rate in sorted(rates[names[a]] & rates[names[b]]):
            paired = _paired(by_seed, (names[a], rate), (names[b], rate))
            differences = np.array([row[PAIRED.index("difference")] for row in paired], dtype=float)
            rows.append((names[a], names[b], rate, *_effect(differences)))
    return pd.DataFrame(rows, columns=NAIVE)


def _by_seed(runs: pd.DataFrame, measure: Measure) -> dict[Cell, dict[int, tuple[float, str]]]:
    """Value on the test set and name of each run: by arm and learning rate, then by seed."""
    outcomes = counted(runs)
    reached = values(outcomes, f"test/{measure.name}", measure.scale)
    by_seed: dict[Cell, dict[int, tuple[float, str]]] = {}
    columns = (outcomes[name] for name in ("arm", "learning_rate", "seed", "run"))
    for arm, rate, seed, run, value in zip(*columns, reached, strict=True):
        by_seed.setdefault((arm, rate), {})[int(seed)] = (value, run)
    return by_seed


def _paired(
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


def _tuned(
    paired: pd.DataFrame, measure: Measure, margin: float | None, kept: Mapping[str, Predictions]
) -> dict[str, float]:
    differences = paired["difference"].to_numpy(dtype=float)
    effect = zip(("pairs", "difference", "low", "high"), _effect(differences), strict=True)
    known = margin is not None and len(differences) > 0
    better = differences if measure.higher_is_better else -differences
    share = zip(("", "_low", "_high"), superiority(better), strict=True)
    equivalence_low, equivalence_high = mean_interval(differences, EQUIVALENCE_CONFIDENCE)
    images_low, images_high = _images_interval(paired, measure, kept)
    return {
        **dict(effect),
        "sd": float(np.std(differences, ddof=1)) if len(differences) > 1 else math.nan,
        "p": permutation_p_value(differences),
        "p_equivalent": equivalence_p_value(differences, margin or 0) if known else math.nan,
        "equivalence_low": equivalence_low,
        "equivalence_high": equivalence_high,
        **{f"superiority{end}": value for end, value in share},
        "images_low": images_low,
        "images_high": images_high,
    }


def _images_interval(
    paired: pd.DataFrame, measure: Measure, kept: Mapping[str, Predictions]
) -> tuple[float, float]:
    """NaN with too few seeds, or where not every run kept predictions of the same images."""
    runs = [*paired["run"], *paired["other_run"]]
    few = len(paired) < seeds_needed(1)
    if measure.name != "accuracy" or few or not kept.keys() >= set(runs):
        return math.nan, math.nan
    labels = kept[runs[0]].label
    if not all(np.array_equal(kept[run].label, labels) for run in runs):
        return math.nan, math.nan
    correct = np.array([kept[run].correct for run in runs]).astype(np.int8)  # [2 seeds, images]
    mine, theirs = correct[: len(paired)], correct[len(paired) :]
    low, high = two_way_interval(mine - theirs)
    return measure.scale * low, measure.scale * high
