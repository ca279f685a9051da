"""The comparison as one Markdown page."""

from typing import TYPE_CHECKING

import pandas as pd

from losslab.comparison.grid import TOLERANCE
from losslab.comparison.runs import counted
from losslab.comparison.wording import interval, listed, number, p_number, pair_name, spread
from losslab.text import piped

if TYPE_CHECKING:
    from losslab.comparison.comparison import Comparison

METHOD = (
    "The learning rate of each arm is chosen by mean validation accuracy, of equal ones the "
    "smaller. Intervals are Student's 95% intervals over seeds, sd is over seeds; `images` is the "
    "95% binomial half-width that the finite test set adds. Diverged runs count, with the "
    "accuracy of their final weights. NLL, Brier and ECE are means over the chosen cell, on the "
    "test set."
)
DIFFERENCE_METHOD = (
    "First arm minus second, in points of test accuracy, over the seeds that both ran. p is "
    "two-sided, from a permutation test that flips the signs of the paired differences (every flip "
    "up to 13 pairs, beyond that 9,999 from a fixed seed); Holm corrects it over this table's rows."
)
NAIVE_METHOD = (
    "Naive: both arms at the same learning rate, tuned for neither. It says which arm a rate "
    "happens to suit, not which arm is better."
)
CELLS_METHOD = (
    "Accuracies in percent, mean ± sd over seeds; the chosen learning rate is bold. Test accuracy "
    "supports a conclusion at the chosen learning rate only."
)


def to_markdown(comparison: "Comparison") -> str:
    sections = [
        [f"# Comparison of {comparison.sweep.name}"],
        [f"**{comparison.verdict}**"],
        _warnings(comparison.warnings),
        ["## Each arm at its chosen learning rate"],
        _summary(comparison.summary),
        [METHOD],
        ["## Paired differences"],
        _differences(comparison.differences),
        ["## Sensitivity to the learning rate"],
        ["![Validation accuracy against learning rate, per arm](sensitivity.svg)"],
        ["## The same learning rate for both arms"],
        _naive(comparison.naive),
        ["## Every cell"],
        [CELLS_METHOD],
        _cells(comparison.cells),
        ["## Provenance"],
        _provenance(comparison.runs),
    ]
    return "\n\n".join("\n".join(section) for section in sections if section) + "\n"


def _warnings(warnings: list[str]) -> list[str]:
    return ["Warnings:", "", *(f"- {warning}" for warning in warnings)] if warnings else []


def _summary(summary: pd.DataFrame) -> list[str]:
    if summary.empty:
        return ["None: no cell has a validation accuracy for each of its runs."]
    header = ["arm", "learning rate", "n", "diverged", "validation accuracy", "test accuracy [95%]"]
    header += ["sd", "images", "NLL", "Brier", "ECE", f"within {TOLERANCE} points of its best"]
    return piped(header, [_summary_row(arm) for _, arm in summary.iterrows()])


def _summary_row(arm: pd.Series) -> list[str]:
    return [
        arm["arm"],
        f"{arm['learning_rate']:g}",
        str(arm["n"]),
        str(arm["diverged"]),
        spread(arm["val_accuracy_percent"], arm["val_accuracy_sd"]),
        interval(arm["test_accuracy_percent"], arm["test_low"], arm["test_high"]),
        number(arm["test_accuracy_sd"]),
        number(arm["test_images_half_width"]),
        *(number(arm[f"test_{quality}"], 4) for quality in ("nll", "brier", "ece")),
        arm["good_range"],
    ]


def _differences(differences: pd.DataFrame) -> list[str]:
    if differences.empty:
        return ["None: a single arm."]
    header = ["arms", "learning rates", "pairs", "difference [95%]", "p", "p (Holm)"]
    rows = [
        [
            pair_name(row),
            f"{row['learning_rate']:g}, {row['other_learning_rate']:g}",
            str(row["pairs"]),
            interval(row["difference"], row["low"], row["high"], signed=True),
            p_number(row["p"]),
            p_number(row["p_holm"]),
        ]
        for _, row in differences.iterrows()
    ]
    return [*piped(header, rows), "", DIFFERENCE_METHOD]


def _naive(naive: pd.DataFrame) -> list[str]:
    if naive.empty:
        return ["None: no two arms share a learning rate."]
    rows = [
        [
            pair_name(row),
            f"{row['learning_rate']:g}",
            str(row["pairs"]),
            interval(row["difference"], row["low"], row["high"], signed=True),
        ]
        for _, row in naive.iterrows()
    ]
    return [NAIVE_METHOD, "", *piped(["arms", "learning rate", "pairs", "difference [95%]"], rows)]


def _cells(cells: pd.DataFrame) -> list[str]:
    header = ["arm", "learning rate", "n", "diverged", "validation accuracy", "test accuracy"]
    return piped(header, [_cell(cell) for _, cell in cells.iterrows()])


def _cell(cell: pd.Series) -> list[str]:
    texts = [
        cell["arm"],
        f"{cell['learning_rate']:g}",
        str(cell["n"]),
        str(cell["diverged"]),
        spread(cell["val_accuracy_percent"], cell["val_accuracy_sd"]),
        spread(cell["test_accuracy_percent"], cell["test_accuracy_sd"]),
    ]
    return [f"**{text}**" for text in texts] if cell["chosen"] else texts


def _provenance(runs: pd.DataFrame) -> list[str]:
    outcomes = counted(runs)
    lines = [f"- runs: {len(outcomes)} counted of {len(runs)} found"]
    for column in ("hardware", "versions", "revision", "data_checksum"):
        kinds = sorted({str(kind) for kind in outcomes[column].dropna()} - {""})
        lines.append(f"- {column.replace('_', ' ')}: {listed(kinds, 3) or 'not recorded'}")
    return lines
