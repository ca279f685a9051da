"""The comparison for a terminal, at most 100 characters wide."""

import math
import textwrap
from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING

import pandas as pd

from runlab.analysis.arms import ordered
from runlab.analysis.grid import TOLERANCE
from runlab.analysis.measure import Measure
from runlab.analysis.statistics import seeds_needed
from runlab.analysis.wording import (
    count_tests,
    epochs,
    interval,
    listed,
    needed_sentence,
    number,
    p_number,
    pair_name,
    signed_number,
    spread,
)
from runlab.text import LINE, aligned, plural, width, wrapped, wrapped_name

if TYPE_CHECKING:
    from runlab.analysis.comparison import Comparison

AT_MOST = 10
NAIVE_AT_MOST = 3
"""Differences and warnings shown; comparison.md has them all."""

CONCLUSIONS_AT_MOST = 6
PAIR = 40
"""Characters of a pair's name before it is wrapped."""


def to_terminal(comparison: "Comparison") -> str:
    sections = [
        _conclusions(comparison.conclusions),
        _grid(comparison.cells, comparison.measure),
        _arms(comparison.arms, comparison.measure),
        _ranges(comparison.arms, comparison.speed),
        _differences(comparison.differences, comparison.measure),
        _naive(comparison.naive, comparison.measure),
        _warnings(comparison.warnings),
    ]
    return "\n\n".join("\n".join(section) for section in sections if section)


def _conclusions(conclusions: list[str]) -> list[str]:
    lines = [line for text in conclusions[:CONCLUSIONS_AT_MOST] for line in wrapped(text)]
    return lines + _rest(len(conclusions), CONCLUSIONS_AT_MOST)


def _grid(cells: pd.DataFrame, measure: Measure) -> list[str]:
    least, most = int(cells["n"].min()), int(cells["n"].max())
    seeds = plural(most, "seed") if least == most else f"{least} to {most} seeds"
    axis = measure.axis("validation")
    axis = axis[0].upper() + axis[1:]
    title = f"{axis} (mean ± sd over {seeds}); * chosen learning rate"
    title += "; †k: k runs diverged" if cells["diverged"].any() else ""
    columns = {
        arm: _column(cells[cells["arm"] == arm], measure.digits) for arm in ordered(cells["arm"])
    }
    lines = wrapped(title)
    for block in _blocks(columns):
        rates = sorted({rate for arm in block for rate in columns[arm]})
        rows = [[f"{rate:g}", *(columns[arm].get(rate, "") for arm in block)] for rate in rates]
        lines += ["", *aligned(["lr", *map(wrapped_name, block)], rows)]
    return lines


def _column(cells: pd.DataFrame, digits: int) -> dict[float, str]:
    marks = [
        ("*" if cell["chosen"] else " ") + (f" †{cell['diverged']}" if cell["diverged"] else "")
        for _, cell in cells.iterrows()
    ]
    widest = max(map(len, marks))
    means = [spread(*pair, digits) for pair in zip(cells["val_mean"], cells["val_sd"], strict=True)]
    texts = [f"{mean} {mark:<{widest}}" for mean, mark in zip(means, marks, strict=True)]
    return dict(zip(cells["learning_rate"], texts, strict=True))


def _blocks(columns: dict[str, dict[float, str]]) -> Iterator[list[str]]:
    """Arms side by side, as many as fit on a line."""
    block: list[str] = []
    free = LINE - 10
    for arm, texts in columns.items():
        needed = 2 + max(width(wrapped_name(arm)), *map(len, texts.values()))
        if block and needed > free:
            yield block
            block, free = [], LINE - 10
        block.append(arm)
        free -= needed
    yield block


def _arms(arms: pd.DataFrame, measure: Measure) -> list[str]:
    if arms.empty:
        return []
    unit = f", {measure.unit}" if measure.unit else ""
    title = f"Test {measure.title} at the chosen learning rate{unit} [Student's 95% over seeds]"
    if arms["test_images_half_width"].notna().any():
        title += "; images: 95% half-width from the finite test set"
    header = ["arm", "lr", "n", "div.", f"{measure.title} [95%]", "sd", "images"]
    table = aligned(
        [*header, "NLL", "Brier", "ECE"], [_arm(arm, measure) for _, arm in arms.iterrows()]
    )
    return [*wrapped(title), "", *table]


def _arm(arm: pd.Series, measure: Measure) -> list[str]:
    digits = measure.digits
    return [
        wrapped_name(arm["arm"]),
        f"{arm['learning_rate']:g}",
        str(arm["n"]),
        str(arm["diverged"]),
        interval(arm["test_mean"], arm["test_low"], arm["test_high"], digits=digits),
        number(arm["test_sd"], digits),
        number(arm["test_images_half_width"]),
        *(number(arm[f"test_{quality}"], 4) for quality in ("nll", "brier", "ece")),
    ]


def _ranges(arms: pd.DataFrame, speed: pd.DataFrame) -> list[str]:
    known = arms[arms["good_range"] != ""] if not arms.empty else arms
    ranges = [f"{arm['arm']} {arm['good_range']}" for _, arm in known.iterrows()]
    lines = []
    if ranges:
        sentence = f"Learning rates within {TOLERANCE} points of an arm's best: "
        lines += wrapped(sentence + "; ".join(ranges) + ".")
    if not speed.empty:
        lines += wrapped(_speed(speed))
    return lines


def _speed(speed: pd.DataFrame) -> str:
    thresholds = " / ".join(f"{threshold:g}" for threshold in sorted(set(speed["threshold"])))
    arms = [
        f"{arm} " + " / ".join(epochs(median, median, median) for median in own["median"])
        for arm, own in speed.groupby("arm", sort=False)
    ]
    least, most = int(speed["n"].min()), int(speed["n"].max())
    runs = plural(most, "run") if least == most else f"{least} to {most} runs"
    return f"Median epochs to {thresholds}% validation accuracy, {runs} an arm: {'; '.join(arms)}."


def _differences(differences: pd.DataFrame, measure: Measure) -> list[str]:
    if differences.empty:
        return []
    unit = measure.difference_unit or "difference"
    title = f"Paired differences in test {measure.title}, each arm at its chosen learning rate"
    rows = [_difference(row, measure) for _, row in differences.head(AT_MOST).iterrows()]
    tests = count_tests(differences)
    few = (differences["pairs"] < seeds_needed(max(tests, 1))).any()
    header = ["arms", f"{unit} [95%]", "seeds × images", "pairs", "p (Holm)", "P(>)"]
    return [
        *wrapped(f"{title}; seeds × images: 95% over both; P(>): share of seeds for the first"),
        "",
        *aligned(header, rows),
        *_rest(len(differences)),
        *(wrapped(f"Too few seeds: {needed_sentence(max(tests, 1))}.") if few else []),
    ]


def _difference(row: pd.Series, measure: Measure) -> list[str]:
    digits, value = measure.digits, row["difference"]
    both = interval(value, row["images_low"], row["images_high"], digits=digits)
    return [
        "\n".join(textwrap.wrap(pair_name(row), PAIR, break_on_hyphens=False)),
        interval(value, row["low"], row["high"], signed=True, digits=digits),
        number(row["images_low"]) if math.isnan(row["images_low"]) else both.partition(" ")[2],
        str(row["pairs"]),
        p_number(row["p_holm"]),
        number(row["superiority"]),
    ]


def _naive(naive: pd.DataFrame, measure: Measure) -> list[str]:
    known = naive.dropna(subset="difference")
    if known.empty:
        return []
    lines = ["Naive: the same differences at one learning rate for both, tuned for neither"]
    pairs = known.groupby(["arm", "other"], sort=False)
    for _, same in islice(pairs, NAIVE_AT_MOST):
        effects = [
            f"{signed_number(row['difference'], measure.digits)} at {row['learning_rate']:g}"
            for _, row in same.iterrows()
        ]
        lines += wrapped(f"{pair_name(same.iloc[0])}: {listed(effects, 12)}", bullet="  ")
    return lines + _rest(pairs.ngroups, NAIVE_AT_MOST)


def _warnings(warnings: list[str]) -> list[str]:
    if not warnings:
        return []
    lines = [line for text in warnings[:AT_MOST] for line in wrapped(text, bullet="! ")]
    return ["Warnings", *lines, *_rest(len(warnings))]


def _rest(count: int, shown: int = AT_MOST) -> list[str]:
    return [f"  … and {count - shown} more in comparison.md"] if count > shown else []
