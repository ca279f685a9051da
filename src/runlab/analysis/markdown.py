"""The comparison as one Markdown page."""

from collections.abc import Collection
from typing import TYPE_CHECKING

import pandas as pd

from runlab.analysis import method
from runlab.analysis.figures import ALT_TEXTS
from runlab.analysis.grid import TOLERANCE
from runlab.analysis.measure import Measure
from runlab.analysis.runs import counted
from runlab.analysis.wording import (
    epochs,
    interval,
    listed,
    number,
    p_number,
    pair_name,
    spread,
)
from runlab.text import piped

if TYPE_CHECKING:
    from runlab.analysis.comparison import Comparison


def to_markdown(comparison: "Comparison", drawn: Collection[str], mountain: str | None) -> str:
    """`drawn` are the names of the figures that there are, `mountain` the caption of that one."""
    measure = comparison.measure
    sections = [
        [f"# Comparison of {comparison.sweep.name}"],
        [f"- **{conclusion}.**" for conclusion in comparison.conclusions],
        _bulleted("Warnings:", comparison.warnings),
        ["## Paired differences"],
        _differences(comparison),
        _figures(drawn, "paired"),
        ["## Each arm at its chosen learning rate"],
        _arms(comparison.arms, measure),
        [method.ARMS],
        ["## Sensitivity to the learning rate"],
        [method.SENSITIVITY],
        _figures(drawn, "sensitivity", "grid"),
        _cells(comparison.cells, measure),
        ["## Speed of learning"],
        _speed(comparison.speed),
        _figures(drawn, "learning_curves"),
        ["## Calibration"],
        _calibration(comparison.arms),
        _figures(drawn, "reliability", "confusion"),
        ["## Why: the gradient at the outputs"],
        [method.GRADIENTS],
        _figures(drawn, "gradients"),
        ["## The mountain"],
        _mountain(comparison, mountain),
        ["## The same learning rate for both arms"],
        _naive(comparison.naive, measure),
        ["## Cost"],
        _cost(comparison.arms),
        ["## Provenance"],
        _provenance(comparison),
    ]
    return "\n\n".join("\n".join(section) for section in sections if section) + "\n"


def _bulleted(title: str, items: list[str]) -> list[str]:
    return [title, "", *(f"- {item}" for item in items)] if items else []


def _figures(drawn: Collection[str], *names: str) -> list[str]:
    lines = [f"![{ALT_TEXTS[name]}]({name}.svg)" for name in names if name in drawn]
    return "\n\n".join(lines).split("\n") if lines else []


def _mountain(comparison: "Comparison", caption: str | None) -> list[str]:
    if caption is None:
        return [method.mountain(comparison.sweep)]
    return [f"![{ALT_TEXTS['landscape']}](landscape.svg)", "", caption]


def _differences(comparison: "Comparison") -> list[str]:
    differences, measure = comparison.differences, comparison.measure
    if differences.empty:
        return ["None: a single arm."]
    header = ["arms", "learning rates", "pairs", "difference [95%]", "seeds × images [95%]"]
    header += ["p (Holm)", "90%", "p equivalent (Holm)", "P(first better) [95%]"]
    rows = [_difference(row, measure) for _, row in differences.iterrows()]
    return [
        *piped(header, rows),
        "",
        method.differences(comparison),
    ]


def _difference(row: pd.Series, measure: Measure) -> list[str]:
    value, digits = row["difference"], measure.digits
    both = interval(value, row["images_low"], row["images_high"], signed=True, digits=digits)
    bounds = pd.isna(row["equivalence_low"])
    ninety = interval(value, row["equivalence_low"], row["equivalence_high"], digits=digits)
    return [
        pair_name(row),
        f"{row['learning_rate']:g}, {row['other_learning_rate']:g}",
        str(row["pairs"]),
        interval(value, row["low"], row["high"], signed=True, digits=digits),
        "not kept" if pd.isna(row["images_low"]) else both,
        p_number(row["p_holm"]),
        number(float("nan")) if bounds else ninety.partition(" ")[2],
        p_number(row["p_equivalent_holm"]),
        interval(row["superiority"], row["superiority_low"], row["superiority_high"]),
    ]


def _arms(arms: pd.DataFrame, measure: Measure) -> list[str]:
    if arms.empty:
        return [f"None: no cell has a validation {measure.title} for each of its runs."]
    header = ["arm", "learning rate", "n", "diverged", f"validation {measure.title}"]
    header += [f"test {measure.title} [95%]", "sd", "images"]
    header += [f"within {TOLERANCE} points of its best"]
    return piped(header, [_arm(arm, measure) for _, arm in arms.iterrows()])


def _arm(arm: pd.Series, measure: Measure) -> list[str]:
    digits = measure.digits
    return [
        arm["arm"],
        f"{arm['learning_rate']:g}",
        str(arm["n"]),
        str(arm["diverged"]),
        spread(arm["val_mean"], arm["val_sd"], digits),
        interval(arm["test_mean"], arm["test_low"], arm["test_high"], digits=digits),
        number(arm["test_sd"], digits),
        number(arm["test_images_half_width"]),
        arm["good_range"],
    ]


def _speed(speed: pd.DataFrame) -> list[str]:
    if speed.empty:
        return [method.NOT_KEPT]
    thresholds = sorted(set(speed["threshold"]))
    rows = [
        [str(arm), f"{own['learning_rate'].iloc[0]:g}", str(own["n"].iloc[0])]
        + [
            f"{epochs(at['median'], at['lowest'], at['highest'])}, {at['reached']} of {at['n']}"
            for _, at in own.iterrows()
        ]
        for arm, own in speed.groupby("arm", sort=False)
    ]
    header = ["arm", "learning rate", "n", *(f"to {threshold:g}%" for threshold in thresholds)]
    return [*piped(header, rows), "", method.SPEED]


def _calibration(arms: pd.DataFrame) -> list[str]:
    header = ["arm", "probabilities", "n", "NLL [95%]", "Brier [95%]", "ECE [95%]"]
    rows = [
        [
            arm["arm"],
            arm["mapping"] or "not recorded",
            str(arm["n"]),
            *(
                interval(arm[key], arm[f"{key}_low"], arm[f"{key}_high"], digits=4)
                for key in ("test_nll", "test_brier", "test_ece")
            ),
        ]
        for _, arm in arms.iterrows()
    ]
    return [*piped(header, rows), "", method.CALIBRATION]


def _naive(naive: pd.DataFrame, measure: Measure) -> list[str]:
    if naive.empty:
        return ["None: no two arms share a learning rate."]
    rows = [
        [
            pair_name(row),
            f"{row['learning_rate']:g}",
            str(row["pairs"]),
            interval(
                row["difference"], row["low"], row["high"], signed=True, digits=measure.digits
            ),
        ]
        for _, row in naive.iterrows()
    ]
    table = piped(["arms", "learning rate", "pairs", "difference [95%]"], rows)
    return [method.NAIVE, "", *table]


def _cells(cells: pd.DataFrame, measure: Measure) -> list[str]:
    header = ["arm", "learning rate", "n", "diverged"]
    header += [f"validation {measure.title}", f"test {measure.title}"]
    return [
        method.CELLS,
        "",
        *piped(header, [_cell(cell, measure) for _, cell in cells.iterrows()]),
    ]


def _cell(cell: pd.Series, measure: Measure) -> list[str]:
    texts = [
        cell["arm"],
        f"{cell['learning_rate']:g}",
        str(cell["n"]),
        str(cell["diverged"]),
        spread(cell["val_mean"], cell["val_sd"], measure.digits),
        spread(cell["test_mean"], cell["test_sd"], measure.digits),
    ]
    return [f"**{text}**" for text in texts] if cell["chosen"] else texts


def _cost(arms: pd.DataFrame) -> list[str]:
    header = ["arm", "learning rate", "n", "seconds a run", "images per second"]
    rows = [
        [
            arm["arm"],
            f"{arm['learning_rate']:g}",
            str(arm["n"]),
            number(arm["seconds"], 1),
            number(arm["images_per_second"], 0),
        ]
        for _, arm in arms.iterrows()
    ]
    return [*piped(header, rows), "", method.COST]


def _provenance(comparison: "Comparison") -> list[str]:
    runs = comparison.runs
    lines = [f"- runs: {len(counted(runs))} counted of {len(runs)} found"]
    for name, kinds in comparison.provenance.items():
        lines.append(f"- {name}: {listed(kinds, 3) or 'not recorded'}")
    return lines
