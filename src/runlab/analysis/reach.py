"""How far a verdict carries, in words: how repeatable it is, and what its seeds cover."""

import pandas as pd

from runlab.analysis.formatting import bad_ends, percentage, signed_number
from runlab.analysis.learning_rates import Rate, rate_text, with_rate
from runlab.analysis.repeatability import SHARES
from runlab.analysis.variation import Variation
from runlab.measure import Measure
from runlab.text import plural

RARE = 0.01
"""A cell that fewer resamples choose is not told."""


def repeats(row: pd.Series) -> str:
    """As in `54% of resamples of the seeds agree`; empty where there is no verdict to repeat."""
    if row["resamples"] == 0:
        return ""
    share = row[_own_share(row)]
    how_many = "all" if share == 1 else f"{percentage(share)} of"
    return _capitalized(f"{how_many} resamples of the seeds agree")


def _capitalized(sentence: str) -> str:
    return sentence[0].upper() + sentence[1:]


def _own_share(row: pd.Series) -> str:
    return next(column for column, kinds in SHARES.items() if row["verdict"] in kinds)


def repeatability(row: pd.Series) -> str:
    """As in `54% of 1,000 resamples of the seeds conclude the same; 40% are undecided`.

    Empty where there is no verdict to repeat.
    """
    if row["resamples"] == 0:
        return ""
    own = _own_share(row)
    endings = {
        "repeat_arm_better": f"find {row['arm']} better",
        "repeat_other_better": f"find {row['other']} better",
        "repeat_equivalent": "find no difference that matters",
        "repeat_undecided": "are undecided",
        "repeat_none": "conclude nothing",
    }
    resamples = f"{row['resamples']:,} resamples of the seeds"
    if row[own] == 1:
        return f"All {resamples} conclude the same"
    others = sorted((-row[column], column) for column in SHARES if column != own and row[column])
    told = ", ".join(f"{percentage(-share)} {endings[column]}" for share, column in others)
    return _capitalized(f"{percentage(row[own])} of {resamples} conclude the same; {told}")


def choices(cells: pd.DataFrame, measure: Measure) -> list[str]:
    """Which of an arm's cells resamples choose, and what that costs: where they differ.

    As in `mse: 0.2 in 93%, 0.5 in 7% (−8.80 points on the test set, 1 of 10 runs diverged)`.
    """
    sentences = []
    for arm, own in cells.groupby("arm", sort=False):
        others = other_choices(own)
        if not others.empty:
            chosen = own[own["chosen"]].iloc[0]
            told = [f"{rate_text(chosen['learning_rate'])} in {percentage(chosen['chosen_share'])}"]
            told += [choice(cell, chosen, measure) for _, cell in others.iterrows()]
            sentences.append(f"{arm}: {', '.join(told)}")
    return sentences


def other_choices(own: pd.DataFrame) -> pd.DataFrame:
    """An arm's cells that resamples choose beside its chosen one, the likeliest first."""
    if not own["chosen"].any():
        return own[:0]
    others = own[~own["chosen"] & (own["chosen_share"] >= RARE)]
    return others.sort_values("chosen_share", ascending=False, kind="stable")


def choice(cell: pd.Series, chosen: pd.Series, measure: Measure) -> str:
    """As in `0.5 in 7% (−8.80 points on the test set, 1 of 10 runs diverged)`."""
    costs = []
    if not pd.isna(change := cell["test_mean"] - chosen["test_mean"]):
        unit = f" {measure.difference_unit}".rstrip()
        costs.append(f"{signed_number(change, measure.digits)}{unit} on the test set")
    costs += filter(None, [bad_ends(cell)])
    told = f" ({', '.join(costs)})" if costs else ""
    return f"{rate_text(cell['learning_rate'])} in {percentage(cell['chosen_share'])}{told}"


def coverage(variation: Variation, rate: Rate | None) -> list[str]:
    """Which sources of variance the seeds cover, and what was held equal."""
    sentences = []
    if variation.seeds > 1:
        verb = "follows" if len(variation.follow) == 1 else "follow"
        keys = f"; {' and '.join(variation.follow)} {verb} the seed" if variation.follow else ""
        sentences.append(f"the seeds cover initial weights and whatever else a run draws{keys}")
        sentences += [
            f"they do not cover what {key} decides: it is {value} in every run; "
            f"'{key}=${{seed}}' on the command line, in these quotes, varies it with the seed"
            for key, value in variation.fixed.items()
        ]
    if variation.equal:
        sentences.append(f"held equal: {', '.join(variation.equal)}")
    kinds = f"{plural(variation.hardware, 'kind')} of hardware"
    versions = f"{plural(variation.versions, 'set')} of library versions"
    sentences += [
        f"the runs had {kinds} and {versions}",
        "rounding on another processor is another draw of the same kind as another seed: there, "
        "too, a verdict may be another",
        with_rate(
            rate, "intervals and p hold for the chosen {plural}, as if no others had been tried"
        ),
    ]
    return [sentence[0].upper() + sentence[1:] for sentence in filter(None, sentences)]
