"""The comparison for a terminal, as wide as that is."""

import textwrap
from collections.abc import Iterator, Sequence
from itertools import islice

import pandas as pd

from runlab import console
from runlab.analysis import method
from runlab.analysis.cells import milestone_measure
from runlab.analysis.comparison import Comparison
from runlab.analysis.conclusions import count_tests, needed_sentence
from runlab.analysis.formatting import (
    bounds,
    epochs,
    interval,
    listed,
    marked,
    marks,
    number,
    p_number,
    pair_name,
    signed_number,
    spread,
    with_unit,
)
from runlab.analysis.learning_rates import Rate, rate_text, with_rate
from runlab.analysis.statistics import seeds_needed
from runlab.analysis.verdicts import Verdict
from runlab.measure import Measure
from runlab.runs.record import UNSOUND
from runlab.text import aligned, plural, printable, wrapped, wrapped_name

AT_MOST = 10
NAIVE_AT_MOST = 3
"""Differences and warnings shown; comparison.md has them all."""

CONCLUSIONS_AT_MOST = 6
DECIDED = (Verdict.ARM_BETTER, Verdict.OTHER_BETTER, Verdict.EQUIVALENT)

PAIR = 40
"""Characters of a pair's name before it is wrapped."""


def terminal(comparison: Comparison) -> str:
    """Its tables and sentences, without those of sections."""
    shown = comparison.shown()
    parts = [
        _conclusions(shown),
        _grid(shown.cells, shown.measure, shown.rate),
        _arms(shown.arms, shown.measure, shown.other_measures, shown.rate),
        [
            *_ranges(shown.arms, shown.measure, shown.rate),
            *_speed(shown.speed, milestone_measure(shown.measure, shown.measures)),
        ],
        _differences(shown.differences, shown.measure, shown.rate),
        [] if shown.rate is None else _naive(shown.naive, shown.measure, shown.rate),
        _reach(shown),
        _warnings(shown.warnings),
    ]
    return "\n\n".join("\n".join(part) for part in parts if part)


def print_comparison(comparison: Comparison) -> None:
    """Prints it, and where its page lies."""
    page = printable(str(comparison.folder / "comparison.html"))
    print(terminal(comparison), page, sep="\n\n", flush=True)


def _conclusions(comparison: Comparison) -> list[str]:
    statements = comparison.statements
    lines = []
    verdicts = [*comparison.differences["verdict"], *[Verdict.UNKNOWN] * len(statements)]
    for (conclusion, repeatability), verdict in zip(
        statements[:CONCLUSIONS_AT_MOST], verdicts, strict=False
    ):
        style = console.VERDICT if verdict in DECIDED else console.BOLD
        lines += [console.painted(line, style) for line in wrapped(conclusion)]
        lines += wrapped(repeatability, bullet="  ")
    return lines + _rest(len(statements), CONCLUSIONS_AT_MOST)


def _reach(comparison: Comparison) -> list[str]:
    """How far the conclusions carry."""
    lines = [line for text in comparison.coverage for line in wrapped(text, bullet="- ")]
    if comparison.margin is not None:
        unit = f" {comparison.measure.difference_unit}".rstrip()
        margin = f"The margin ±{comparison.margin:g}{unit}: {comparison.margin_origin}"
        lines += wrapped(margin, bullet="- ")
    if choices := comparison.choices:
        lines += wrapped(f"{method.chosen_anew(comparison.rate)}:", bullet="- ")
        lines += [line for text in choices[:AT_MOST] for line in wrapped(text, bullet="  ")]
        lines += _rest(len(choices))
    return ["How far this carries", *lines]


def _grid(cells: pd.DataFrame, measure: Measure, rate: Rate | None) -> list[str]:
    least, most = int(cells["n"].min()), int(cells["n"].max())
    seeds = plural(most, "seed") if least == most else f"{least} to {most} seeds"
    axis = measure.axis("validation")
    axis = axis[0].upper() + axis[1:]
    title = f"{axis} (mean ± sd over {seeds}){with_rate(rate, '; * chosen {title}')}"
    title += "".join(f"; {mark}" for mark in marks(cells))
    columns = {arm: _column(own, measure.digits, rate) for arm, own in _by_arm(cells)}
    tried = sorted({learning_rate for column in columns.values() for learning_rate in column})
    rows = [
        [
            "" if rate is None else rate_text(learning_rate),
            *(column.get(learning_rate, "") for column in columns.values()),
        ]
        for learning_rate in tried
    ]
    header = "" if rate is None else rate.short
    return [*wrapped(title), "", *aligned([header, *map(wrapped_name, columns)], rows)]


def _by_arm(table: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """The rows of each arm, in the order in which arms come."""
    for arm, own in table.groupby("arm", sort=False):
        yield str(arm), own


def _column(cells: pd.DataFrame, digits: int, rate: Rate | None) -> dict[float, str]:
    marks = [
        " ".join(filter(None, ["*" if cell["chosen"] and rate is not None else " ", marked(cell)]))
        for _, cell in cells.iterrows()
    ]
    widest = max(map(len, marks))
    means = [spread(*pair, digits) for pair in zip(cells["val_mean"], cells["val_sd"], strict=True)]
    texts = [f"{mean} {mark:<{widest}}" for mean, mark in zip(means, marks, strict=True)]
    return dict(zip(cells["learning_rate"], texts, strict=True))


def _arms(
    arms: pd.DataFrame, measure: Measure, others: Sequence[Measure], rate: Rate | None
) -> list[str]:
    if arms.empty:
        return []
    unit = f", {measure.unit}" if measure.unit else ""
    where = with_rate(rate, " at the chosen {title}")
    title = f"Test {measure.title}{where}{unit} [Student's 95% over seeds]"
    if arms["test_samples_half_width"].notna().any():
        title += "; samples: 95% half-width from the finite test set"
    ends = [end for end in UNSOUND if end == "diverged" or arms[end].any()]
    header = [
        "arm",
        *([] if rate is None else [rate.short]),
        "n",
        *(f"{end[:3]}." for end in ends),
        f"{measure.title} [95%]",
        "sd",
    ]
    header += ["samples"] * measure.proportion
    header += [other.title for other in others]
    rows = [_arm(arm, ends, measure, others, rate) for _, arm in arms.iterrows()]
    return [*wrapped(title), "", *aligned(header, rows)]


def _arm(
    arm: pd.Series,
    ends: Sequence[str],
    measure: Measure,
    others: Sequence[Measure],
    rate: Rate | None,
) -> list[str]:
    digits = measure.digits
    return [
        wrapped_name(arm["arm"]),
        *([] if rate is None else [rate_text(arm["learning_rate"])]),
        str(arm["n"]),
        *(str(arm[end]) for end in ends),
        interval(arm["test_mean"], arm["test_low"], arm["test_high"], digits=digits),
        number(arm["test_sd"], digits),
        *([number(arm["test_samples_half_width"])] * measure.proportion),
        *(number(arm[f"test_{other.name}"], other.digits) for other in others),
    ]


def _ranges(arms: pd.DataFrame, measure: Measure, rate: Rate | None) -> list[str]:
    known = arms[arms["good_range"] != ""] if not arms.empty else arms
    if known.empty:
        return []
    ranges = "; ".join(f"{arm['arm']} {arm['good_range']}" for _, arm in known.iterrows())
    what = with_rate(rate, "{plural}")
    what = what[0].upper() + what[1:]
    return wrapped(f"{what} within {method.tolerance(measure)} of an arm's best: {ranges}.")


def _speed(speed: pd.DataFrame, measure: Measure | None) -> list[str]:
    if speed.empty or measure is None:
        return []
    thresholds = " / ".join(f"{threshold:g}" for threshold in sorted(set(speed["threshold"])))
    arms = [
        f"{arm} " + " / ".join(epochs(median, median, median) for median in own["median"])
        for arm, own in _by_arm(speed)
    ]
    least, most = int(speed["n"].min()), int(speed["n"].max())
    runs = plural(most, "run") if least == most else f"{least} to {most} runs"
    return wrapped(
        f"Median epochs to {with_unit(thresholds, measure.unit)} validation {measure.title}, "
        f"{runs} an arm: {'; '.join(arms)}."
    )


def _differences(differences: pd.DataFrame, measure: Measure, rate: Rate | None) -> list[str]:
    if differences.empty:
        return []
    unit = measure.difference_unit or "difference"
    where = with_rate(rate, ", each arm at its chosen {title}")
    title = f"Paired differences in test {measure.title}{where}"
    rows = [_difference(row, measure) for _, row in differences.head(AT_MOST).iterrows()]
    tests = count_tests(differences)
    few = (differences["pairs"] < seeds_needed(max(tests, 1))).any()
    header = ["arms", f"{unit} [95%]", "seeds × samples", "pairs", "p (Holm)", "P(>)"]
    return [
        *wrapped(f"{title}; seeds × samples: 95% over both; P(>): share of seeds for the first"),
        "",
        *aligned(header, rows),
        *_rest(len(differences)),
        *(wrapped(f"Too few seeds: {needed_sentence(max(tests, 1))}.") if few else []),
    ]


def _difference(row: pd.Series, measure: Measure) -> list[str]:
    digits = measure.digits
    return [
        "\n".join(textwrap.wrap(pair_name(row), PAIR, break_on_hyphens=False)),
        interval(row["difference"], row["low"], row["high"], signed=True, digits=digits),
        bounds(row["samples_low"], row["samples_high"], digits),
        str(row["pairs"]),
        p_number(row["p_holm"]),
        number(row["superiority"]),
    ]


def _naive(naive: pd.DataFrame, measure: Measure, rate: Rate) -> list[str]:
    known = naive.dropna(subset="difference")
    if known.empty:
        return []
    lines = [f"Naive: the same differences at one {rate.title} for both, tuned for neither"]
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
    return [console.painted(line, console.WARNING) for line in ("Warnings", *lines)] + _rest(
        len(warnings)
    )


def _rest(count: int, shown: int = AT_MOST) -> list[str]:
    return [f"  … and {count - shown} more in comparison.md"] if count > shown else []
