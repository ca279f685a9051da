"""A comparison by hand, with small and plausible tables, for what only shows them."""

from pathlib import Path
from typing import Any

import pandas as pd

from runlab.analysis.comparison import Comparison
from runlab.analysis.learning_rates import Rate
from runlab.analysis.palette import arm_styles, known_styles
from runlab.config.axes import Axes
from tests.analysis.synthetic import ARM_STYLES, MEASURES

ARMS = ("cross_entropy", "mse", "mse_logits")
KNOWN = known_styles(ARM_STYLES)
STYLES = arm_styles(ARMS, KNOWN)
RATE = Rate("optimizer.lr")
RATES = (0.1, 0.2, 0.5)
CHOSEN = 0.2
NAN = float("nan")


def comparison(
    losses: tuple[str, ...] = ARMS,
    rates: tuple[float, ...] = RATES,
    seeds: int = 3,
    **changes: Any,
) -> Comparison:
    made: dict[str, Any] = {
        "sweep": Path("logs/mse_vs_cross_entropy"),
        "measure": MEASURES[0],
        "measures": MEASURES,
        "primary": MEASURES[0],
        "axes": Axes(),
        "rate": RATE,
        "margin": 0.2,
        "margin_origin": "recorded by every run before it began, as its command line set it",
        "runs": runs(losses, rates, seeds),
        "outcomes": frozenset(),
        "cells": cells(losses, rates, seeds),
        "arms": arms_table(losses, seeds),
        "paired": paired(losses, seeds),
        "differences": differences(losses, seeds),
        "naive": differences(losses, seeds),
        "history": curves(losses, seeds),
        "speed": speed(losses, seeds),
        "tables": {},
        "arm_styles": arm_styles(losses, KNOWN),
        "known_styles": KNOWN,
        "sections": (),
        "outputs": (),
        "facts": {"data": "MNIST, 10,000 test samples", "epochs": "3"},
        "commands": ["losslab train -m seed=0,1,2 'model.widths=[8]'"],
        "conclusions": ["cross_entropy better than mse by 0.41 points of test accuracy"],
        "coverage": ["Held equal: model=mlp"],
        "warnings": ["two runs trained elsewhere"],
    }
    return Comparison(**made | changes)


def runs(arms: tuple[str, ...], rates: tuple[float, ...], seeds: int) -> pd.DataFrame:
    keys = [(arm, rate, seed) for arm in arms for rate in rates for seed in range(seeds)]
    table = pd.DataFrame(keys, columns=["arm", "learning_rate", "seed"])
    known = {"status": "finished", "hardware": "cpu Synthetic CPU"}
    return table.assign(**known, versions="", revision=None, data_checksum="")


def cells(arms: tuple[str, ...], rates: tuple[float, ...], seeds: int) -> pd.DataFrame:
    rows = [
        {"arm": arm, "learning_rate": rate, "n": seeds, "diverged": int(rate > 0.4) * seeds,
         "collapsed": 0,
         "chosen_share": float(rate == CHOSEN),
         "chosen": rate == (CHOSEN if CHOSEN in rates else rates[0]),
         "setting/loss": arm.split(", ")[0]}
        | _spread("val", 97 - 20 * abs(rate - CHOSEN) - place, seeds)
        | _spread("test", 96.8 - 20 * abs(rate - CHOSEN) - place, seeds)
        | {"test_nll": 0.1, "test_brier": 0.05, "test_ece": 0.01, "seconds": 1.4,
           "samples_per_second": 118_000.0}
        for place, arm in enumerate(arms)
        for rate in rates
    ]  # fmt: skip
    return pd.DataFrame(rows)


def _spread(split: str, mean: float, seeds: int) -> dict[str, float]:
    sd = 0.2 if seeds > 1 else NAN
    ends = {"lowest": mean - 0.3, "highest": mean + 0.3} if seeds > 1 else {}
    spread = {"mean": mean, "sd": sd, "lowest": mean, "highest": mean} | ends
    return {f"{split}_{name}": value for name, value in spread.items()}


def arms_table(arms: tuple[str, ...], seeds: int) -> pd.DataFrame:
    known = 1.0 if seeds > 1 else NAN
    others = {
        f"test_{name}{end}": value * shift
        for name, value in (("nll", 0.1), ("brier", 0.05), ("ece", 0.0048))
        for end, shift in (("", 1.0), ("_low", 0.9 * known), ("_high", 1.1 * known))
    }
    return pd.DataFrame(
        [
            {"arm": arm, "learning_rate": CHOSEN, "n": seeds, "diverged": 0, "collapsed": 0,
             "val_mean": 97.0, "val_sd": 0.2 * known, "test_mean": 96.8, "test_sd": 0.2 * known,
             "test_low": 96.6 * known, "test_high": 97.0 * known, "test_samples_half_width": 0.32,
             **others, "module/probability_formula": "softmax of the outputs",
             "good_range": "0.1 to 0.2", "good_decades": 0.3, "diverged_anywhere": 3,
             "collapsed_anywhere": 0, "runs": 9}
            for arm in arms
        ]
    )  # fmt: skip


def pairs(arms: tuple[str, ...]) -> list[tuple[str, str]]:
    return [(arm, other) for place, arm in enumerate(arms) for other in arms[place + 1 :]]


PAIRED = ["arm", "other", "seed", "value", "other_value", "difference"]


def paired(arms: tuple[str, ...], seeds: int) -> pd.DataFrame:
    """By seed 0.2, 0.4, … points for the first arm; but the other is better at seed 0."""
    rows = [
        (arm, other, seed, 97.0, 97.0 - gain, gain)
        for arm, other in pairs(arms)
        for seed in range(seeds)
        for gain in [0.2 * seed if seed else -0.3]
    ]
    return pd.DataFrame(rows, columns=PAIRED)


def differences(arms: tuple[str, ...], seeds: int) -> pd.DataFrame:
    """With a learning rate each, so also a table of naive differences."""
    known = 1.0 if seeds > 1 else NAN
    row = {"learning_rate": CHOSEN, "other_learning_rate": 0.5, "pairs": seeds, "difference": 0.4,
           "low": 0.1 * known, "high": 0.7 * known, "p": 0.002, "p_holm": 0.006,
           "equivalence_low": 0.2 * known, "equivalence_high": 0.6 * known, "p_equivalent": 0.9,
           "p_equivalent_holm": 0.9, "superiority": 0.9, "superiority_low": 0.7,
           "superiority_high": 1.0, "samples_low": 0.05, "samples_high": 0.75,
           "verdict": "arm better", "resamples": 1_000, "repeat_arm_better": 0.93,
           "repeat_other_better": 0.0, "repeat_equivalent": 0.0, "repeat_undecided": 0.07,
           "repeat_none": 0.0}  # fmt: skip
    rows = [{"arm": arm, "other": other} | row for arm, other in pairs(arms)]
    return pd.DataFrame(rows, columns=["arm", "other", *row])


def speed(arms: tuple[str, ...], seeds: int) -> pd.DataFrame:
    columns = ["arm", "learning_rate", "threshold", "n", "reached", "median", "lowest", "highest"]
    rows = [
        (arm, CHOSEN, threshold, seeds, reached, median, 0.5, highest)
        for arm in arms
        for threshold, reached, median, highest in (
            (90.0, seeds, 0.5, 0.5), (97.0, seeds - 1, float("inf"), float("inf"))
        )
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=columns)


def curves(arms: tuple[str, ...], seeds: int, epochs: int = 3) -> pd.DataFrame:
    """Seeds lie 0.1 points apart."""
    rows = [
        {"run": f"{arm},{seed}", "arm": arm, "learning_rate": CHOSEN, "seed": seed,
         "epoch": float(epoch), "step": 859 * epoch,
         "val/accuracy": 90 + 2 * epoch - place + 0.1 * seed,
         "val/nll": 0.5 / epoch + 0.01 * seed}
        for place, arm in enumerate(arms)
        for seed in range(seeds)
        for epoch in range(1, epochs + 1)
    ]  # fmt: skip
    return pd.DataFrame(rows)
