"""The method itself, on simulated sweeps whose truth is known."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from runlab.analysis.cells import summarize_arms, summarize_cells
from runlab.analysis.differences import pair_runs, tuned_differences
from runlab.analysis.statistics import two_way_interval
from tests.analysis.synthetic import ACCURACY

SWEEPS = 1_000
SEEDS = 10
RATES = (0.1, 0.2)
Noise = Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]


def normal(random: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return random.normal(0, 0.002, shape)


def skewed(random: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """A long tail of bad runs, as sweeps have."""
    return -random.gamma(1.0, 0.002, shape)


def simulate(random: np.random.Generator, noise: Noise, ahead: float) -> pd.DataFrame:
    """Two arms, two learning rates of which neither is better, ten seeds in common."""
    keys = [(arm, rate, seed) for arm in ("a", "b") for rate in RATES for seed in range(SEEDS)]
    runs = pd.DataFrame(keys, columns=["arm", "learning_rate", "seed"])
    shared = normal(random, (SEEDS,))[runs["seed"]]
    for split in ("val", "test"):
        runs[f"{split}/accuracy"] = 0.97 + shared + noise(random, (len(runs),))
    runs.loc[runs["arm"] == "a", "test/accuracy"] += ahead
    known = {"setting/loss": runs["arm"], "run": runs.index.astype(str)}
    return runs.assign(status="finished", **known)


def conclude(runs: pd.DataFrame) -> pd.Series:
    cells = summarize_cells(runs, ACCURACY, [], ["a", "b"])
    arms = summarize_arms(runs, cells, ACCURACY, [])
    paired = pair_runs(runs, arms, ACCURACY)
    return tuned_differences(paired, arms, ACCURACY, 0.2, {}).iloc[0]


@pytest.mark.long
@pytest.mark.parametrize("noise", [normal, skewed])
def test_without_a_difference_5_percent_are_rejected_and_95_covered(noise: Noise) -> None:
    random = np.random.default_rng(0)
    rows = [conclude(simulate(random, noise, ahead=0)) for _ in range(SWEEPS)]
    rejected = np.mean([row["p_holm"] < 0.05 for row in rows])
    covered = np.mean([row["low"] <= 0 <= row["high"] for row in rows])
    assert 0.03 <= rejected <= 0.07
    assert 0.93 <= covered <= 0.97


@pytest.mark.long
def test_a_difference_of_the_margin_is_called_equivalent_in_at_most_5_percent() -> None:
    random = np.random.default_rng(0)
    rows = [conclude(simulate(random, normal, ahead=0.002)) for _ in range(SWEEPS // 2)]
    equivalent = np.mean([row["p_equivalent_holm"] < 0.05 for row in rows])
    assert 0.02 <= equivalent <= 0.07


def test_the_interval_over_seeds_and_samples_covers_what_new_ones_would_show() -> None:
    """Whether a sample is right depends on seed, sample, arm and chance; b is better by 0.4%."""
    random = np.random.default_rng(0)
    samples, truth, covered = 1_000, -0.004, 0
    for _ in range(1_000):
        difficulty = random.normal(0, 1, samples)
        right = []
        for ahead in (0.0, -truth):
            reaction = random.normal(0, 0.3, samples)  # of this arm to these samples
            skill = random.normal(0, 0.004, (SEEDS, 1))
            chance = 0.9 + ahead + skill + 0.02 * (difficulty + reaction)
            right.append(random.random((SEEDS, samples)) < chance)
        low, high = two_way_interval(right[0].astype(np.int8) - right[1].astype(np.int8))
        covered += low <= truth <= high
    assert 0.93 <= covered / 1_000 <= 0.97
