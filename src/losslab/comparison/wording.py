"""Sentences and numbers in words, generated from the statistics."""

import math

import pandas as pd

from losslab.comparison.statistics import is_exact, seeds_needed
from losslab.text import plural

ABSENT = "\N{EN DASH}"
MINUS = "\N{MINUS SIGN}"


def verdict(summary: pd.DataFrame, differences: pd.DataFrame) -> str:
    """The first line of a comparison: the effect between its first two arms, or why none."""
    if summary.empty:
        return "No arm can be judged: no cell has a validation accuracy for each of its runs."
    if differences.empty:
        arm = summary.iloc[0]
        accuracy = interval(arm["test_accuracy_percent"], arm["test_low"], arm["test_high"])
        return (
            f"{arm['arm']}: {accuracy}% test accuracy at learning rate {arm['learning_rate']:g}, "
            f"{plural(int(arm['n']), 'seed')}; a single arm, nothing to compare it with"
        )
    sentence = difference_sentence(differences.iloc[0], tests=count_tests(differences))
    compared = summary.head(2)
    lost = compared.loc[compared["diverged_anywhere"] == compared["runs"], "arm"]
    return sentence + "".join(f"; every run of {arm} diverged" for arm in lost)


def count_tests(differences: pd.DataFrame) -> int:
    return int(differences["p"].notna().sum())


def difference_sentence(row: pd.Series, tests: int) -> str:
    """As in `a - b: +0.31 points of test accuracy [0.22, 0.40], 10 paired seeds, …`."""
    title = pair_name(row)
    if row["pairs"] == 0:
        return f"{title}: the chosen learning rates share no seed, so nothing is paired"
    if math.isnan(row["difference"]):
        return f"{title}: not known, as a run at a chosen learning rate has no test accuracy"
    effect = interval(row["difference"], row["low"], row["high"], signed=True)
    pairs = plural(int(row["pairs"]), "paired seed")
    value, _, bounds = effect.partition(" [")
    bounds = f" [{bounds}" if bounds else ""
    return f"{title}: {value} points of test accuracy{bounds}, {pairs}, {_test(row, tests)}"


def _test(row: pd.Series, tests: int) -> str:
    kind = "exact" if is_exact(int(row["pairs"])) else "sampled"
    sentence = f"{kind} permutation {p_value(row['p_holm'])}{_correction(tests)}"
    few = row["pairs"] < seeds_needed(tests)
    return f"{sentence}; too few seeds: {needed_sentence(tests)}" if few else sentence


def needed_sentence(tests: int) -> str:
    needed = seeds_needed(tests)
    return f"at least {needed} paired seeds are needed for p < 0.05{_correction(tests)}"


def _correction(tests: int) -> str:
    return f" after Holm over {tests} differences" if tests > 1 else ""


def pair_name(row: pd.Series) -> str:
    return f"{row['arm']} {MINUS} {row['other']}"


def p_value(p: float) -> str:
    """As in `p = 0.002` or `p < 0.001`."""
    return f"p {p_number(p)}" if p < 0.001 else f"p = {p_number(p)}"


def p_number(p: float) -> str:
    return "< 0.001" if p < 0.001 else number(p, 3)


def interval(value: float, low: float, high: float, signed: bool = False) -> str:
    """`0.31 [0.22, 0.40]`, or the value alone where there is no interval."""
    middle = signed_number(value) if signed else number(value)
    return middle if math.isnan(low) else f"{middle} [{number(low)}, {number(high)}]"


def spread(mean: float, sd: float, digits: int = 2) -> str:
    """`98.12 ± 0.08`, or the mean alone where one run has no spread."""
    return number(mean, digits) if math.isnan(sd) else f"{mean:.{digits}f} ± {sd:.{digits}f}"


def number(value: float, digits: int = 2) -> str:
    return (
        ABSENT if math.isnan(value) else _with_minus(f"{_unsigned_zero(value, digits):.{digits}f}")
    )


def signed_number(value: float) -> str:
    return ABSENT if math.isnan(value) else _with_minus(f"{_unsigned_zero(value, 2):+.2f}")


def _unsigned_zero(value: float, digits: int) -> float:
    return round(value, digits) + 0.0  # -0.0 + 0.0 is 0.0


def _with_minus(text: str) -> str:
    return text.replace("-", MINUS)


def listed(names: list[str], at_most: int = 5) -> str:
    rest = len(names) - at_most
    return ", ".join(names[:at_most]) + (f" and {rest} more" if rest > 0 else "")
