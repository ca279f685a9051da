"""The comparison for a terminal, at most 100 characters wide."""

import textwrap
from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING

import pandas as pd

from losslab.comparison.arms import ordered
from losslab.comparison.grid import TOLERANCE
from losslab.comparison.statistics import seeds_needed
from losslab.comparison.wording import (
    count_tests,
    interval,
    listed,
    needed_sentence,
    number,
    p_number,
    pair_name,
    signed_number,
    spread,
)
from losslab.text import LINE, NAME, aligned, plural, width, wrapped, wrapped_name

if TYPE_CHECKING:
    from losslab.comparison.comparison import Comparison

AT_MOST = 10
NAIVE_AT_MOST = 3
"""Differences and warnings shown; comparison.md has them all."""

SUMMARY = ["arm", "lr", "n", "div.", "accuracy [95%]", "sd", "images", "NLL", "Brier", "ECE"]


def to_terminal(comparison: "Comparison") -> str:
    sections = [
        wrapped(comparison.verdict),
        _grid(comparison.cells),
        _summary(comparison.summary),
        _differences(comparison.differences),
        _naive(comparison.naive),
        _warnings(comparison.warnings),
    ]
    return "\n\n".join("\n".join(section) for section in sections if section)


def _grid(cells: pd.DataFrame) -> list[str]:
    least, most = int(cells["n"].min()), int(cells["n"].max())
    seeds = plural(most, "seed") if least == most else f"{least} to {most} seeds"
    title = f"Validation accuracy, % (mean ± sd over {seeds}); * chosen learning rate"
    title += "; †k: k runs diverged" if cells["diverged"].any() else ""
    columns = {arm: _column(cells[cells["arm"] == arm]) for arm in ordered(cells["arm"])}
    lines = wrapped(title)
    for block in _blocks(columns):
        rates = sorted({rate for arm in block for rate in columns[arm]})
        rows = [[f"{rate:g}", *(columns[arm].get(rate, "") for arm in block)] for rate in rates]
        lines += ["", *aligned(["lr", *map(wrapped_name, block)], rows)]
    return lines


def _column(cells: pd.DataFrame) -> dict[float, str]:
    marks = [
        ("*" if cell["chosen"] else " ") + (f" †{cell['diverged']}" if cell["diverged"] else "")
        for _, cell in cells.iterrows()
    ]
    widest = max(map(len, marks))
    means = map(spread, cells["val_accuracy_percent"], cells["val_accuracy_sd"])
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


def _summary(summary: pd.DataFrame) -> list[str]:
    if summary.empty:
        return []
    title = "Test accuracy at the chosen learning rate, % [Student's 95% interval over seeds]"
    if summary["test_images_half_width"].notna().any():
        title += "; images: 95% half-width from the finite test set"
    ranges = [f"{arm['arm']} {arm['good_range']}" for _, arm in summary.iterrows()]
    sentence = f"Learning rates within {TOLERANCE} points of an arm's best: "
    table = aligned(SUMMARY, [_summary_row(arm) for _, arm in summary.iterrows()])
    return [*wrapped(title), "", *table, "", *wrapped(sentence + "; ".join(ranges) + ".")]


def _summary_row(arm: pd.Series) -> list[str]:
    return [
        wrapped_name(arm["arm"]),
        f"{arm['learning_rate']:g}",
        str(arm["n"]),
        str(arm["diverged"]),
        interval(arm["test_accuracy_percent"], arm["test_low"], arm["test_high"]),
        number(arm["test_accuracy_sd"]),
        number(arm["test_images_half_width"]),
        *(number(arm[f"test_{quality}"], 4) for quality in ("nll", "brier", "ece")),
    ]


def _differences(differences: pd.DataFrame) -> list[str]:
    if differences.empty:
        return []
    title = "Paired differences in points of test accuracy, each arm at its chosen learning rate"
    rows = [_difference_row(row) for _, row in differences.head(AT_MOST).iterrows()]
    tests = count_tests(differences)
    few = (differences["pairs"] < seeds_needed(max(tests, 1))).any()
    return [
        title,
        "",
        *aligned(["arms", "points [95%]", "pairs", "p", "p (Holm)"], rows),
        *_rest(len(differences)),
        *(wrapped(f"Too few seeds: {needed_sentence(max(tests, 1))}.") if few else []),
    ]


def _difference_row(row: pd.Series) -> list[str]:
    return [
        "\n".join(textwrap.wrap(pair_name(row), 2 * NAME, break_on_hyphens=False)),
        interval(row["difference"], row["low"], row["high"], signed=True),
        str(row["pairs"]),
        p_number(row["p"]),
        p_number(row["p_holm"]),
    ]


def _naive(naive: pd.DataFrame) -> list[str]:
    known = naive.dropna(subset="difference")
    if known.empty:
        return []
    lines = ["Naive: the same differences at one learning rate for both, tuned for neither"]
    pairs = known.groupby(["arm", "other"], sort=False)
    for _, same in islice(pairs, NAIVE_AT_MOST):
        effects = [
            f"{signed_number(row['difference'])} at {row['learning_rate']:g}"
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
