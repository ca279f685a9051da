"""For papers: tables in LaTeX, and a paragraph of the conclusions that names the method."""

from collections.abc import Iterable, Sequence

import pandas as pd

from runlab.analysis.comparison import Comparison
from runlab.analysis.conclusions import count_tests
from runlab.analysis.formatting import (
    bounds,
    interval,
    listed,
    p_number,
    pair_name,
    spread,
)
from runlab.analysis.learning_rates import NO_RATE, rate_text, with_rate
from runlab.analysis.statistics import RESAMPLES, is_exact
from runlab.runs.record import UNSOUND
from runlab.text import latex, plural

HEAD = r"""% Written with every comparison: copy what you need, as it is replaced then.
% The tables need \usepackage{booktabs}; names with letters beyond Latin's need lualatex or xelatex.
"""


def to_latex(comparison: Comparison) -> str:
    """Two tables and the paragraph."""
    parts = [_table(*_arms(comparison))]
    if not comparison.differences.empty:
        parts.append(_table(*_differences(comparison)))
    return "\n".join([HEAD, *parts, latex(to_paragraph(comparison)), ""])


def to_paragraph(comparison: Comparison) -> str:
    """The conclusions, then how they were come by, in plain text."""
    sentences = [
        *comparison.conclusions,
        _training(comparison),
        *_tests(comparison),
        _software(comparison),
    ]
    return " ".join(f"{sentence}." for sentence in sentences if sentence)


def _training(comparison: Comparison) -> str:
    arms, rate = comparison.arms, comparison.rate
    if arms.empty:
        return ""
    fewest, most = int(arms["n"].min()), int(arms["n"].max())
    seeds = plural(most, "seed") if fewest == most else f"{fewest} to {most} seeds"
    cells = comparison.cells[comparison.cells["learning_rate"] != NO_RATE]
    if rate is None or cells.empty:
        return f"Each arm was trained with {seeds}"
    tried = _tried(cells)
    return (
        f"Each arm was trained with {seeds} at the chosen {rate.title}, which is the best of those "
        f"tried ({tried}) by mean validation {comparison.measure.title} over seeds"
    )


def _tried(cells: pd.DataFrame) -> str:
    """Which learning rates each arm was tried at: not all need have been tried at as many."""
    values, counts = cells["learning_rate"], cells.groupby("arm")["learning_rate"].nunique()
    fewest, most = counts.min(), counts.max()
    if values.nunique() == 1:
        return f"{values.iloc[0]:g} alone"
    number = f"{most}" if fewest == most else f"{fewest} to {most}, by arm,"
    return f"{number} from {values.min():g} to {values.max():g}"


def _tests(comparison: Comparison) -> Iterable[str]:
    """What was tested how, as far as anything was."""
    differences, measure = comparison.differences, comparison.measure
    tests = count_tests(differences)
    if not tests:
        return
    exact = {is_exact(int(pairs)) for pairs in differences.loc[differences["p"].notna(), "pairs"]}
    flips = "every flip" if exact == {True} else f"{RESAMPLES:,} sampled flips beyond 13 pairs"
    yield (
        f"Differences in test {measure.title} are paired by seed; intervals are Student's 95% "
        "intervals of their mean, and p is two-sided, from a permutation test that flips the signs "
        f"of the paired differences ({flips})"
    )
    if comparison.margin is not None:
        unit = f" {measure.difference_unit}".rstrip()
        yield (
            f"A difference within ±{comparison.margin:g}{unit} counts as none that matters "
            f"({comparison.margin_origin}): two one-sided t tests at 5%"
        )
    if tests > 1:
        yield f"Each kind of p is corrected by Holm's method over {tests} differences"


def _software(comparison: Comparison) -> str:
    provenance = comparison.provenance
    parts = [listed(provenance[key], 2) for key in ("versions", "hardware") if provenance[key]]
    return f"Trained with {' on '.join(parts)}" if parts else ""


# Tables

Table = tuple[str, list[str], list[list[str]]]
"""Caption, titles of columns, rows."""


def _arms(comparison: Comparison) -> Table:
    measure, rate = comparison.measure, comparison.rate
    unit = f" ({measure.unit})" if measure.unit else ""
    titles = ["arm", *([] if rate is None else [rate.title]), "seeds", *UNSOUND]
    titles += [f"validation {measure.title}{unit}", f"test {measure.title}{unit} [95%]"]
    rows = [
        [
            arm["arm"],
            *([] if rate is None else [rate_text(arm["learning_rate"])]),
            str(arm["n"]),
            *(str(arm[end]) for end in UNSOUND),
            spread(arm["val_mean"], arm["val_sd"], measure.digits),
            interval(arm["test_mean"], arm["test_low"], arm["test_high"], digits=measure.digits),
        ]
        for _, arm in comparison.arms.iterrows()
    ]
    caption = (
        f"Each arm{with_rate(rate, ' at the {title} that validation chose for it')}: validation "
        "as mean ± standard deviation over seeds, test as mean with Student's 95% interval."
    )
    return caption, titles, rows


def _differences(comparison: Comparison) -> Table:
    measure, has_margin = comparison.measure, comparison.margin is not None
    unit = measure.difference_unit or measure.unit
    titles = ["arms", "pairs", f"difference{f' ({unit})' if unit else ''} [95%]", "p (Holm)"]
    titles += ["[90%]", "p equivalent (Holm)"] * has_margin
    rows = [
        _difference(row, measure.digits, has_margin) for _, row in comparison.differences.iterrows()
    ]
    within = f", equivalence within ±{comparison.margin:g} {unit}".rstrip() if has_margin else ""
    caption = (
        f"Paired differences in test {measure.title}, first arm minus second, over the seeds that "
        f"both ran: permutation test{within}, p corrected by Holm's method."
    )
    return caption, titles, rows


def _difference(row: pd.Series, digits: int, has_margin: bool) -> list[str]:
    cells = [
        pair_name(row),
        str(row["pairs"]),
        interval(row["difference"], row["low"], row["high"], signed=True, digits=digits),
        p_number(row["p_holm"]),
    ]
    if has_margin:
        cells += [
            bounds(row["equivalence_low"], row["equivalence_high"], digits),
            p_number(row["p_equivalent_holm"]),
        ]
    return cells


def _table(caption: str, titles: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    def line(cells: Iterable[str]) -> str:
        return " & ".join(map(latex, cells)) + r" \\"

    return "\n".join(
        [
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{latex(caption)}}}",
            rf"\begin{{tabular}}{{l{'r' * (len(titles) - 1)}}}",
            r"\toprule",
            line(titles),
            r"\midrule",
            *map(line, rows),
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
            "",
        ]
    )
