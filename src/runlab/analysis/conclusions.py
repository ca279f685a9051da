"""The conclusions in plain words, generated from the statistics."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from runlab.analysis.cells import has_sound_run
from runlab.analysis.formatting import bad_ends, interval, p_value, pair_name, with_unit
from runlab.analysis.learning_rates import Rate, rate_text, with_rate
from runlab.analysis.statistics import (
    SIGNIFICANCE,
    is_exact,
    seeds_for_equivalence,
    seeds_needed,
)
from runlab.analysis.verdicts import Verdict
from runlab.measure import Measure
from runlab.text import plural


@dataclass(frozen=True)
class Tuning:
    """Of what is tuned: the arms for which it was not, or not quite."""

    rate: Rate | None
    on_the_edge: Collection[str]
    at_one_rate: Collection[str]


def conclude(
    arms: pd.DataFrame,
    differences: pd.DataFrame,
    measure: Measure,
    margin: float | None,
    tuning: Tuning,
) -> list[str]:
    """The conclusions in plain words, one for each pair of arms; or why there is none."""
    if arms.empty:
        return [f"No arm can be judged: no cell has a validation {measure.title} of every run"]
    if differences.empty:
        return [_alone(arms.iloc[0], measure, tuning.rate)]
    tests = count_tests(differences)
    return [
        "; ".join(
            [
                _conclusion(row, measure, margin, tests, tuning.rate),
                *reservations(row, arms, tuning),
            ]
        )
        for _, row in differences.iterrows()
    ]


def _alone(arm: pd.Series, measure: Measure, rate: Rate | None) -> str:
    reached = interval(arm["test_mean"], arm["test_low"], arm["test_high"], digits=measure.digits)
    mean, *bounds = reached.split(" ", 1)
    reached = " ".join([with_unit(mean, measure.unit), *bounds])
    where = with_rate(rate, f" at {{title}} {rate_text(arm['learning_rate'])}")
    return (
        f"{arm['arm']}: {reached} test {measure.title}{where}, "
        f"{plural(int(arm['n']), 'seed')}; a single arm, nothing to compare it with"
    )


def count_tests(differences: pd.DataFrame) -> int:
    return int(differences["p"].notna().sum())


LEADS = {
    Verdict.NONE_SOUND: "Nothing can be concluded about {arm} and {other}",
    Verdict.UNPAIRED: "Nothing paired for {arm} and {other}",
    Verdict.UNKNOWN: "Not known for {arm} and {other}",
    Verdict.TOO_FEW: "Too few seeds to say whether {arm} or {other} is better",
    Verdict.EQUIVALENT: "No difference that matters between {arm} and {other}",
    Verdict.UNDECIDED: "Undecided between {arm} and {other}",
}
"""How a conclusion begins that names no better arm."""


def better_first(row: pd.Series | Mapping[str, Any]) -> tuple[str, str]:
    """The two arms, in turned order where the other one is better."""
    turned = row["verdict"] == Verdict.OTHER_BETTER
    return (row["other"], row["arm"]) if turned else (row["arm"], row["other"])


def turned_to_better(row: pd.Series) -> pd.Series:
    """A row of the table of differences with its better arm first: where it was not, negated."""
    if better_first(row)[0] == row["arm"]:
        return row
    turned = row.copy()
    turned["arm"], turned["other"] = row["other"], row["arm"]
    turned["difference"] = -row["difference"]
    for of in ("", "equivalence_"):
        turned[f"{of}low"], turned[f"{of}high"] = -row[f"{of}high"], -row[f"{of}low"]
    return turned


def _conclusion(
    row: pd.Series,
    measure: Measure,
    margin: float | None,
    tests: int,
    rate: Rate | None,
) -> str:
    arm, other, pairs, verdict = row["arm"], row["other"], int(row["pairs"]), row["verdict"]
    lead = LEADS.get(verdict, "").format(arm=arm, other=other)
    if verdict == Verdict.NONE_SOUND:
        return lead
    if verdict == Verdict.UNPAIRED:
        what = with_rate(rate, "the chosen {plural}") or "they"
        return f"{lead}: {what} share no seed"
    if verdict == Verdict.UNKNOWN:
        where = with_rate(rate, " at a chosen {title}")
        return f"{lead}: a run{where} lacks its result"
    seeds, effect = plural(pairs, "paired seed"), _effect(row, measure)
    if verdict == Verdict.TOO_FEW:
        return f"{lead}: {needed_sentence(tests)}, got {pairs}; so far {effect}"
    test = f"{seeds}, {_test(row, tests)}"
    if verdict in (Verdict.ARM_BETTER, Verdict.OTHER_BETTER):
        return f"{_better(row, measure)}, {test}{_yet_small(row, measure, margin)}"
    if verdict == Verdict.EQUIVALENT:
        ninety = interval(
            row["difference"], row["equivalence_low"], row["equivalence_high"],
            signed=True, digits=measure.digits,
        )  # fmt: skip
        return (
            f"{lead}: within ±{margin:g} {_unit(measure)}, {ninety} (90%), {seeds}, "
            f"two one-sided t tests {p_value(row['p_equivalent_holm'])}{_correction(tests)}"
        )
    undecided = f"{lead}: {effect}, {test}"
    if row["p_holm"] < SIGNIFICANCE:
        return f"{undecided}; yet the interval includes 0: a few seeds are far from the rest"
    if row["low"] > 0 or row["high"] < 0:
        undecided += "; that the interval excludes 0 is not enough, the test decides"
    return undecided + _missing(row, measure, margin, tests)


def _better(row: pd.Series, measure: Measure) -> str:
    arm, other = better_first(row)
    sign = -1 if row["difference"] < 0 else 1
    low, high = sorted((sign * row["low"], sign * row["high"]))
    size = interval(sign * row["difference"], low, high, digits=measure.digits)
    return f"{arm} better than {other} by {_with_unit(size, measure)}"


def _effect(row: pd.Series, measure: Measure) -> str:
    """`+0.31 points of test score [0.22, 0.40] (a − b)`"""
    effect = interval(
        row["difference"], row["low"], row["high"], signed=True, digits=measure.digits
    )
    return f"{_with_unit(effect, measure)} ({pair_name(row)})"


def _with_unit(effect: str, measure: Measure) -> str:
    value, _, bounds = effect.partition(" [")
    return f"{value} {_unit(measure)}" + (f" [{bounds}" if bounds else "")


def _unit(measure: Measure) -> str:
    """As in `points of test score` or `in test RMSE`."""
    joined = f"{measure.difference_unit} of" if measure.difference_unit else "in"
    return f"{joined} test {measure.title}"


def _yet_small(row: pd.Series, measure: Measure, margin: float | None) -> str:
    if margin is None or max(abs(row["low"]), abs(row["high"])) >= margin:
        return ""
    unit = f" {measure.difference_unit}".rstrip()
    return f"; too small to matter, within ±{margin:g}{unit}"


def _missing(row: pd.Series, measure: Measure, margin: float | None, tests: int) -> str:
    if margin is None:
        return "; a difference is not shown"
    unit = f" {measure.difference_unit}".rstrip()
    nothing = f"; neither a difference nor its absence within ±{margin:g}{unit} is shown"
    seeds = seeds_for_equivalence(margin, row["sd"], tests)
    if seeds is not None and seeds <= row["pairs"]:
        return nothing
    ways = f"about {seeds}" if seeds else "more than 1,000"
    return f"{nothing}: if there is none, a new sweep of {ways} seeds would show it 4 times in 5"


def reservations(row: pd.Series, arms: pd.DataFrame, tuning: Tuning) -> list[str]:
    """What may make a conclusion on this pair another one: bad ends, and how each arm was tuned."""
    pair = [row["arm"], row["other"]]
    of_pair = arms.set_index("arm").loc[pair]
    parts = [end for arm, own in of_pair.iterrows() if (end := bad_ends(own, str(arm)))]
    sound = list(of_pair.index[has_sound_run(of_pair)])
    if edge := [arm for arm in sound if arm in tuning.on_the_edge]:
        what = "rate" if tuning.rate and tuning.rate.is_learning_rate else "choice"
        parts.append(f"provisional: a wider grid may change the {what} of {' and '.join(edge)}")
    if single := [arm for arm in sound if arm in tuning.at_one_rate]:
        of_whom = f" of {single[0]}" if len(single) < len(pair) else ""
        parts.append(with_rate(tuning.rate, "untuned: one {title} was tried") + of_whom)
    return parts


def _test(row: pd.Series, tests: int) -> str:
    kind = "exact" if is_exact(int(row["pairs"])) else "sampled"
    return f"{kind} permutation {p_value(row['p_holm'])}{_correction(tests)}"


def needed_sentence(tests: int) -> str:
    return f"at least {seeds_needed(tests)} are needed for p < 0.05{_correction(tests)}"


def _correction(tests: int) -> str:
    return f" after Holm over {tests} differences" if tests > 1 else ""
