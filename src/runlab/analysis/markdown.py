"""The comparison as one Markdown page."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from itertools import zip_longest

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
from runlab.analysis.headlines import Card
from runlab.analysis.learning_rates import Rate, rate_text, with_rate
from runlab.analysis.runs import ended_runs
from runlab.analysis.section import Section
from runlab.measure import Measure
from runlab.runs.record import UNSOUND
from runlab.text import markdown, piped, printable

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

    measure, rate = comparison.measure, comparison.rate
    said = _said(rate)
    parts = [
        [f"# Comparison of {markdown(comparison.sweep.name)}"],
        [_statement(*each) for each in zip_longest(comparison.statements, comparison.cards)],
        _facts(comparison),
        _bulleted("Warnings:", comparison.warnings),
        ["## Paired differences"],
        _differences(comparison),
        figures("paired"),
        [f"## Each arm{with_rate(said, ' at its chosen {title}')}"],
        _arms(comparison.arms, measure, rate),
        [method.arms(measure, said)],
        ["## How far a verdict carries"],
        _reach(comparison),
        [f"## {with_rate(said, 'Sensitivity to the {title}') or 'Every cell'}"],
        [] if said is None else [method.sensitivity(said)],
        figures("sensitivity", "grid"),
        _cells(comparison.cells, measure, rate),
        ["## Speed of learning"],
        _speed(comparison),
        figures("learning_curves"),
        *(
            part
            for section in sections
            if (text := section.to_markdown(comparison))
            for part in ([f"## {section.title}"], [text], figures(*section.alt_texts))
        ),
        *([] if rate is None else _naive(comparison.naive, measure, rate)),
        ["## Cost"],
        _cost(comparison.arms, rate),
        ["## Provenance"],
        _provenance(comparison),
    ]
    return "\n\n".join(filter(None, map("\n".join, parts))) + "\n"


def _statement(statement: tuple[str, str], card: Card | None) -> str:
    conclusion, repeatability = statement
    how = f" {markdown(repeatability)}." if repeatability else ""
    if card is None:
        return f"- **{markdown(conclusion)}.**{how}"
    return f"- **{markdown(card.headline)}.** {markdown(conclusion)}.{how}"


def _facts(comparison: Comparison) -> list[str]:
    told = [f"{markdown(name)}: {markdown(text)}" for name, text in comparison.facts.items()]
    commands = [f"    {printable(command)}" for command in comparison.commands]
    return ["; ".join(told), *([""] * bool(commands)), *commands]


def _reach(comparison: Comparison) -> list[str]:
    lines = [f"- {markdown(sentence)}." for sentence in comparison.coverage]
    if comparison.differences["resamples"].any():
        lines += ["", method.repeatable(_said(comparison.rate))]
    if choices := comparison.choices:
        lines += [
            "",
            f"{method.chosen_anew(_said(comparison.rate))}:",
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


def _said(rate: Rate | None) -> Rate | None:
    """Likewise."""
    return None if rate is None else replace(rate, key=markdown(rate.key))


def _bulleted(title: str, items: list[str]) -> list[str]:
    return [title, "", *(f"- {markdown(item)}" for item in items)] if items else []


def _differences(comparison: Comparison) -> list[str]:
    differences, measure = comparison.differences, comparison.measure
    if differences.empty:
        return ["None: a single arm."]
    rate = comparison.rate
    header = ["arms", *_column(rate, "{plural}"), "pairs", "difference [95%]"]
    header += [
        "seeds × samples [95%]",
        "p (Holm)",
        "90%",
        "p equivalent (Holm)",
        "P(first better) [95%]",
    ]
    rows = [_difference(row, measure, rate) for _, row in differences.iterrows()]
    escaped = replace(comparison, measure=_escaped(measure), rate=_said(rate))
    explained = method.differences(escaped)
    return [*piped(header, rows), "", explained]


def _column(rate: Rate | None, text: str = "{title}") -> list[str]:
    """Of a table, where anything is tuned."""
    return [] if rate is None else [with_rate(rate, text)]


def _difference(row: pd.Series, measure: Measure, rate: Rate | None) -> list[str]:
    value, digits = row["difference"], measure.digits
    chosen = f"{rate_text(row['learning_rate'])}, {rate_text(row['other_learning_rate'])}"
    both = interval(value, row["samples_low"], row["samples_high"], signed=True, digits=digits)
    return [
        pair_name(row),
        *_column(rate, chosen),
        str(row["pairs"]),
        interval(value, row["low"], row["high"], signed=True, digits=digits),
        "not kept" if pd.isna(row["samples_low"]) else both,
        p_number(row["p_holm"]),
        bounds(row["equivalence_low"], row["equivalence_high"], digits),
        p_number(row["p_equivalent_holm"]),
        interval(row["superiority"], row["superiority_low"], row["superiority_high"]),
    ]


def _arms(arms: pd.DataFrame, measure: Measure, rate: Rate | None) -> list[str]:
    if arms.empty:
        title = _escaped(measure).title
        return [f"None: no cell has a validation {title} for each of its runs."]
    header = ["arm", *_column(rate), "n", *UNSOUND, f"validation {measure.title}"]
    header += [f"test {measure.title} [95%]", "sd"]
    header += ["samples"] * measure.proportion
    if measure.tolerance is not None:
        header.append(f"within {method.tolerance(measure)} of its best")
    return piped(header, [_arm(arm, measure, rate) for _, arm in arms.iterrows()])


def _arm(arm: pd.Series, measure: Measure, rate: Rate | None) -> list[str]:
    digits = measure.digits
    return [
        arm["arm"],
        *_column(rate, rate_text(arm["learning_rate"])),
        str(arm["n"]),
        *(str(arm[end]) for end in UNSOUND),
        spread(arm["val_mean"], arm["val_sd"], digits),
        interval(arm["test_mean"], arm["test_low"], arm["test_high"], digits=digits),
        number(arm["test_sd"], digits),
        *([number(arm["test_samples_half_width"])] * measure.proportion),
        *([arm["good_range"]] * (measure.tolerance is not None)),
    ]


def _speed(comparison: Comparison) -> list[str]:
    speed, rate = comparison.speed, comparison.rate
    measure = milestone_measure(comparison.measure, comparison.measures)
    if measure is None and not comparison.history.empty:
        return []
    if measure is None or speed.empty:
        return [method.NOT_KEPT]
    thresholds = sorted(set(speed["threshold"]))
    rows = [
        [str(arm), *_column(rate, rate_text(own["learning_rate"].iloc[0])), str(own["n"].iloc[0])]
        + [
            f"{epochs(at['median'], at['lowest'], at['highest'])}, {at['reached']} of {at['n']}"
            for _, at in own.iterrows()
        ]
        for arm, own in speed.groupby("arm", sort=False)
    ]
    header = [
        "arm",
        *_column(rate),
        "n",
        *(f"to {method.threshold(value, measure)}" for value in thresholds),
    ]
    return [*piped(header, rows), "", method.speed(_escaped(measure))]


def _naive(naive: pd.DataFrame, measure: Measure, rate: Rate) -> list[list[str]]:
    said = replace(rate, key=markdown(rate.key))
    title = [f"## {method.naive_title(said)}"]
    if naive.empty:
        return [title, [f"None: no two arms share a {said.title}."]]
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
    table = piped(["arms", rate.title, "pairs", "difference [95%]"], rows)
    return [title, [method.naive(said), "", *table]]


def _cells(cells: pd.DataFrame, measure: Measure, rate: Rate | None) -> list[str]:
    header = ["arm", *_column(rate), "n", *UNSOUND]
    header += [f"validation {measure.title}", f"test {measure.title}"]
    rows = [_cell(cell, measure, rate) for _, cell in cells.iterrows()]
    chosen = (
        [] if rate is None else [row for row, is_chosen in enumerate(cells["chosen"]) if is_chosen]
    )
    return [method.cells(_said(rate)), "", *piped(header, rows, chosen)]


def _cell(cell: pd.Series, measure: Measure, rate: Rate | None) -> list[str]:
    return [
        cell["arm"],
        *_column(rate, rate_text(cell["learning_rate"])),
        str(cell["n"]),
        *(str(cell[end]) for end in UNSOUND),
        spread(cell["val_mean"], cell["val_sd"], measure.digits),
        spread(cell["test_mean"], cell["test_sd"], measure.digits),
    ]


def _cost(arms: pd.DataFrame, rate: Rate | None) -> list[str]:
    header = ["arm", *_column(rate), "n", "seconds a run", "samples per second"]
    rows = [
        [
            arm["arm"],
            *_column(rate, rate_text(arm["learning_rate"])),
            str(arm["n"]),
            number(arm["seconds"], 1),
            number(arm["samples_per_second"], 0),
        ]
        for _, arm in arms.iterrows()
    ]
    return [*piped(header, rows), "", method.cost(rate)]


def _provenance(comparison: Comparison) -> list[str]:
    runs = comparison.runs
    lines = [f"- runs: {len(ended_runs(runs))} counted of {len(runs)} found"]
    for name, kinds in comparison.provenance.items():
        lines.append(f"- {name}: {markdown(listed(kinds, 3)) or 'not recorded'}")
    return lines
