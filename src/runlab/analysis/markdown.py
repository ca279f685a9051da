"""The comparison as one Markdown page."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

import pandas as pd

from runlab.analysis import method
from runlab.analysis.cells import milestone_measure
from runlab.analysis.comparison import Comparison
from runlab.analysis.formatting import (
    bounds,
    epochs,
    interval,
    listed,
    number,
    p_number,
    pair_name,
    spread,
)
from runlab.analysis.runs import ended_runs
from runlab.analysis.section import Section
from runlab.measure import Measure
from runlab.runs.record import UNSOUND
from runlab.text import markdown, piped

Texts = Mapping[str, str]
"""Alternative texts of figures, by name."""


def to_markdown(
    comparison: Comparison,
    drawn: Collection[str],
    alt_texts: Texts,
    sections: Sequence[Section],
) -> str:
    """`drawn` are the names of the figures that there are."""

    def figures(*names: str) -> list[str]:
        return ["\n\n".join(f"![{alt_texts[n]}]({n}.svg)" for n in names if n in drawn)]

    measure = comparison.measure
    parts = [
        [f"# Comparison of {markdown(comparison.sweep.name)}"],
        [_statement(*statement) for statement in comparison.statements],
        _bulleted("Warnings:", comparison.warnings),
        ["## Paired differences"],
        _differences(comparison),
        figures("paired"),
        ["## Each arm at its chosen learning rate"],
        _arms(comparison.arms, measure),
        [method.arms(measure)],
        ["## How far a verdict carries"],
        _reach(comparison),
        ["## Sensitivity to the learning rate"],
        [method.SENSITIVITY],
        figures("sensitivity", "grid"),
        _cells(comparison.cells, measure),
        ["## Speed of learning"],
        _speed(comparison),
        figures("learning_curves"),
        *(
            part
            for section in sections
            if (text := section.to_markdown(comparison))
            for part in ([f"## {section.title}"], [text], figures(*section.alt_texts))
        ),
        ["## The same learning rate for both arms"],
        _naive(comparison.naive, measure),
        ["## Cost"],
        _cost(comparison.arms),
        ["## Provenance"],
        _provenance(comparison),
    ]
    return "\n\n".join(filter(None, map("\n".join, parts))) + "\n"


def _statement(conclusion: str, repeatability: str) -> str:
    how = f" {markdown(repeatability)}." if repeatability else ""
    return f"- **{markdown(conclusion)}.**{how}"


def _reach(comparison: Comparison) -> list[str]:
    lines = [f"- {markdown(sentence)}." for sentence in comparison.coverage]
    if comparison.differences["resamples"].any():
        lines += ["", method.REPEATABLE]
    if choices := comparison.choices:
        lines += [
            "",
            f"{method.CHOSEN_ANEW}:",
            "",
            *(f"- {markdown(choice)}" for choice in choices),
        ]
    return lines


def _escaped(measure: Measure) -> Measure:
    """For sentences that are Markdown themselves."""
    return replace(
        measure,
        title=markdown(measure.title),
        unit=markdown(measure.unit),
        difference_unit=markdown(measure.difference_unit),
    )


def _bulleted(title: str, items: list[str]) -> list[str]:
    return [title, "", *(f"- {markdown(item)}" for item in items)] if items else []


def _differences(comparison: Comparison) -> list[str]:
    differences, measure = comparison.differences, comparison.measure
    if differences.empty:
        return ["None: a single arm."]
    header = ["arms", "learning rates", "pairs", "difference [95%]", "seeds × samples [95%]"]
    header += ["p (Holm)", "90%", "p equivalent (Holm)", "P(first better) [95%]"]
    rows = [_difference(row, measure) for _, row in differences.iterrows()]
    explained = method.differences(replace(comparison, measure=_escaped(measure)))
    return [*piped(header, rows), "", explained]


def _difference(row: pd.Series, measure: Measure) -> list[str]:
    value, digits = row["difference"], measure.digits
    both = interval(value, row["samples_low"], row["samples_high"], signed=True, digits=digits)
    return [
        pair_name(row),
        f"{row['learning_rate']:g}, {row['other_learning_rate']:g}",
        str(row["pairs"]),
        interval(value, row["low"], row["high"], signed=True, digits=digits),
        "not kept" if pd.isna(row["samples_low"]) else both,
        p_number(row["p_holm"]),
        bounds(row["equivalence_low"], row["equivalence_high"], digits),
        p_number(row["p_equivalent_holm"]),
        interval(row["superiority"], row["superiority_low"], row["superiority_high"]),
    ]


def _arms(arms: pd.DataFrame, measure: Measure) -> list[str]:
    if arms.empty:
        title = _escaped(measure).title
        return [f"None: no cell has a validation {title} for each of its runs."]
    header = ["arm", "learning rate", "n", *UNSOUND, f"validation {measure.title}"]
    header += [f"test {measure.title} [95%]", "sd"]
    header += ["samples"] * measure.proportion
    if measure.tolerance is not None:
        header.append(f"within {method.tolerance(measure)} of its best")
    return piped(header, [_arm(arm, measure) for _, arm in arms.iterrows()])


def _arm(arm: pd.Series, measure: Measure) -> list[str]:
    digits = measure.digits
    return [
        arm["arm"],
        f"{arm['learning_rate']:g}",
        str(arm["n"]),
        *(str(arm[end]) for end in UNSOUND),
        spread(arm["val_mean"], arm["val_sd"], digits),
        interval(arm["test_mean"], arm["test_low"], arm["test_high"], digits=digits),
        number(arm["test_sd"], digits),
        *([number(arm["test_samples_half_width"])] * measure.proportion),
        *([arm["good_range"]] * (measure.tolerance is not None)),
    ]


def _speed(comparison: Comparison) -> list[str]:
    speed = comparison.speed
    measure = milestone_measure(comparison.measure, comparison.measures)
    if measure is None and not comparison.history.empty:
        return []
    if measure is None or speed.empty:
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
    header = [
        "arm",
        "learning rate",
        "n",
        *(f"to {method.threshold(value, measure)}" for value in thresholds),
    ]
    return [*piped(header, rows), "", method.speed(_escaped(measure))]


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
    header = ["arm", "learning rate", "n", *UNSOUND]
    header += [f"validation {measure.title}", f"test {measure.title}"]
    rows = [_cell(cell, measure) for _, cell in cells.iterrows()]
    chosen = [row for row, is_chosen in enumerate(cells["chosen"]) if is_chosen]
    return [method.CELLS, "", *piped(header, rows, chosen)]


def _cell(cell: pd.Series, measure: Measure) -> list[str]:
    return [
        cell["arm"],
        f"{cell['learning_rate']:g}",
        str(cell["n"]),
        *(str(cell[end]) for end in UNSOUND),
        spread(cell["val_mean"], cell["val_sd"], measure.digits),
        spread(cell["test_mean"], cell["test_sd"], measure.digits),
    ]


def _cost(arms: pd.DataFrame) -> list[str]:
    header = ["arm", "learning rate", "n", "seconds a run", "samples per second"]
    rows = [
        [
            arm["arm"],
            f"{arm['learning_rate']:g}",
            str(arm["n"]),
            number(arm["seconds"], 1),
            number(arm["samples_per_second"], 0),
        ]
        for _, arm in arms.iterrows()
    ]
    return [*piped(header, rows), "", method.COST]


def _provenance(comparison: Comparison) -> list[str]:
    runs = comparison.runs
    lines = [f"- runs: {len(ended_runs(runs))} counted of {len(runs)} found"]
    for name, kinds in comparison.provenance.items():
        lines.append(f"- {name}: {markdown(listed(kinds, 3)) or 'not recorded'}")
    return lines
