"""What could mislead a reader of this sweep, one sentence each."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import combinations

import pandas as pd

from runlab.analysis.arms import SETTING, settings_of
from runlab.analysis.cells import (
    arms_without_validation,
    has_sound_run,
    metric_values,
    select_chosen,
)
from runlab.analysis.conclusions import Tuning
from runlab.analysis.differences import MOST_PAIRS, differing_settings
from runlab.analysis.formatting import listed
from runlab.analysis.learning_rates import NO_RATE, Rate, next_value, rate_text, with_rate
from runlab.analysis.reach import choice, other_choices
from runlab.analysis.runs import THEN, duplicate_runs, ended_runs
from runlab.analysis.variation import Variation
from runlab.config.axes import Axes
from runlab.measure import Measure
from runlab.runs.record import ENDED, UNSOUND
from runlab.text import plural

PROVENANCE = {
    "revision": "git revisions",
    "hardware": "kinds of hardware",
    "versions": "sets of library versions",
}


def find_warnings(
    runs: pd.DataFrame,
    cells: pd.DataFrame,
    arms: pd.DataFrame,
    measure: Measure,
    order: Sequence[str],
    rate: Rate | None,
) -> list[str]:
    """`order` is that of all arms, also of those in which no run has ended."""
    unvalidated = arms_without_validation(runs, measure)
    return [
        *_unusable(runs),
        *_unfinished(runs),
        *_differing_stacks(runs),
        *_duplicates(runs, rate),
        *_without_result(runs, measure, unvalidated),
        *_without_choice(cells, unvalidated, rate),
        *_absent_arms(runs, cells, order),
        *_edges(cells, measure, rate),
        *_single_rates(cells[~cells["arm"].isin(unvalidated)], rate),
        *_confounded(arms),
        *_different_grids(cells),
        *_unequal_seeds(cells),
        *_mixed_outcomes(cells),
        *_unstable_choices(cells, arms, measure, rate),
        *_other_seeds(runs, cells, rate),
        *_mixed_provenance(ended_runs(runs)),
    ]


def find_missing_keys(runs: pd.DataFrame, axes: Axes, rate: Rate | None) -> Iterator[str]:
    """A sentence for each key that somebody chose to compare by, and no run has."""
    usual = Axes()
    if axes.rate not in (None, usual.rate) and rate is None:
        yield f"no run has comparison.rate={axes.rate} in its configuration: nothing is tuned"
    names = (str(axes.arm), str(axes.arm).rpartition(".")[2])
    if axes.arm not in (None, usual.arm) and not any(SETTING + name in runs for name in names):
        yield (
            f"no run has comparison.arm={axes.arm} in its configuration: whatever else varies "
            "names the arms"
        )


def find_mixed_losses(measure: Measure, variation: Variation) -> Iterator[str]:
    """Where runs are ranked by a loss, and each module may compute one of its own."""
    if not measure.comparable and len(variation.modules) > 1:
        yield (
            f"the arms are ranked by {measure.title}, which is comparable only for runs of one "
            f"loss, and their modules differ ({listed(list(variation.modules))}): see that all of "
            "them compute the same loss, or compare by another measure"
        )


def _unusable(runs: pd.DataFrame) -> Iterator[str]:
    unusable = runs[runs["problem"] != ""]
    if not unusable.empty:
        yield (
            f"{len(unusable)} of {plural(len(runs), 'run')} left out, as their records are damaged "
            "or absent: whatever they reached, good or bad, is in no number here; the names of "
            "their folders say which they were"
        )
    problems = dict(zip(unusable["run"], unusable["problem"], strict=True))
    alike: dict[str, list[str]] = {}  # what is wrong with many is told once
    for run, problem in problems.items():
        alike.setdefault(problem.replace(run, "…"), []).append(run)
    for first, *others in alike.values():
        more = f" and {plural(len(others), 'more run')} are" if others else " is"
        yield f"{first}{more} left out: {problems[first]}"


def _unfinished(runs: pd.DataFrame) -> Iterator[str]:
    waiting = runs[(runs["problem"] == "") & ~runs["status"].isin(ENDED)]
    for status, group in waiting.groupby("status"):
        yield f"{plural(len(group), 'run')} left out as {status}: {listed(group['run'].tolist())}"


def _differing_stacks(runs: pd.DataFrame) -> Iterator[str]:
    differing = runs[runs["stack_differs"].eq(True)] if "stack_differs" in runs else runs[:0]
    if not differing.empty:
        yield (
            f"a stack computed something else than its runs alone ({listed(list(differing['run']))}"
            "): what ended before in that command may be wrong too; train the whole sweep again: "
            "hydra/launcher=basic overwrite=true"
        )


def _duplicates(runs: pd.DataFrame, rate: Rate | None) -> Iterator[str]:
    again = duplicate_runs(runs)["run"].tolist()
    if again:
        same = with_rate(rate, "arm, {title} and seed") or "arm and seed"
        yield (
            f"{plural(len(again), 'run')} left out, as another has the same {same}: {listed(again)}"
        )


def _without_result(
    runs: pd.DataFrame, measure: Measure, unvalidated: Collection[str]
) -> Iterator[str]:
    tested = ended_runs(runs)
    validated = tested[~tested["arm"].isin(unvalidated)]
    for split, ended in (("val", validated), ("test", tested)):
        metric = f"{split}/{measure.name}"
        absent = ended.loc[metric_values(ended, metric).isna(), "run"].tolist()
        if absent:
            yield (
                f"{plural(len(absent), 'run')} recorded no {metric}, so "
                f"the mean of the cell is not known: {listed(absent)}"
            )


def _without_choice(
    cells: pd.DataFrame, unvalidated: Collection[str], rate: Rate | None
) -> Iterator[str]:
    own = cells[cells["arm"].isin(unvalidated)]
    grids = own.groupby("arm", sort=False)["learning_rate"].agg(list)
    several = [
        f"{arm} has {listed([rate_text(value) for value in tried])}"
        for arm, tried in grids.items()
        if len(tried) > 1
    ]
    if several:
        yield (
            f"expected one {with_rate(rate, '{title}')} an arm, as the runs had no validation to "
            f"choose by: {'; '.join(several)}"
        )


def _absent_arms(runs: pd.DataFrame, cells: pd.DataFrame, order: Sequence[str]) -> Iterator[str]:
    absent = set(runs["arm"].dropna()) - set(cells["arm"])
    for arm in filter(absent.__contains__, order):
        yield f"{arm}: no run has finished, so the arm is missing from every table"


def _edges(cells: pd.DataFrame, measure: Measure, rate: Rate | None) -> Iterator[str]:
    for arm in cells["arm"].unique():
        own = cells[cells["arm"] == arm]
        tuned = own[own["learning_rate"] != NO_RATE]
        tried = tuned["learning_rate"].tolist()
        if not has_sound_run(own).any():
            where = _where_to_look(tuned, measure, rate)
            yield f"{arm}: {_how_all_ended(own)}" + (f"; add {where}" if where else "")
        elif rate is not None and len(tried) > 1:
            lower, higher = next_value(tried, above=False), next_value(tried, above=True)
            yield from _edge(arm, tuned, {min(tried): lower, max(tried): higher}, rate)


def _how_all_ended(own: pd.DataFrame) -> str:
    ends = [f"every run {end}" for end in UNSOUND if (own[end] == own["n"]).all()]
    return ends[0] if ends else "every run diverged or collapsed"


def _where_to_look(own: pd.DataFrame, measure: Measure, rate: Rate | None) -> str:
    """Which learning rates to add where no run is sound; of another key that is not known.

    One that diverges has too large a rate. One that collapses may have too small a rate, and never
    have left chance, or too large a one: the rate whose best weights did best says which.
    """
    own = own[own["learning_rate"] > 0]  # of 0 nothing is learned
    if rate is None or not rate.is_learning_rate or own.empty:
        return ""
    rates, collapsed = own["learning_rate"], own[own["collapsed"] > 0]
    tried = rates.tolist()
    lower, higher = next_value(tried, above=False), next_value(tried, above=True)
    if collapsed.empty:
        return f"smaller learning rates, {lower:g} first"
    score = own["val_mean"] * (1 if measure.higher_is_better else -1)
    best = rates[score == score.max()].tolist()
    if len(own) == 1 or len(best) != 1:
        return f"smaller and larger learning rates, {lower:g} and {higher:g} first"
    if best == [rates.min()]:
        return f"smaller learning rates, {lower:g} first, as the smallest did best"
    if best == [rates.max()] and not own.loc[rates == rates.max(), "diverged"].any():
        return f"larger learning rates, {higher:g} first, as the largest did best"
    return f"learning rates beside {best[0]:g}, which did best"


def _edge(
    arm: str, own: pd.DataFrame, beyond: Mapping[float, float | None], rate: Rate
) -> Iterator[str]:
    for chosen in own.loc[own["chosen"], "learning_rate"]:
        if beyond.get(chosen) is not None:  # nothing is below 0
            end = "smallest" if chosen == own["learning_rate"].min() else "largest"
            yield (
                f"{arm}: its chosen {rate.title} {chosen:g} is the {end} that was tried, "
                f"so a better one may lie beyond; try {beyond[chosen]:g} too"
            )


def _single_rates(cells: pd.DataFrame, rate: Rate | None) -> Iterator[str]:
    if rate is None:
        return
    cells = cells[cells["learning_rate"] != NO_RATE]
    tried = cells.groupby("arm")["learning_rate"].transform("nunique")
    alone = cells[(tried == 1) & has_sound_run(cells)]
    for key, own in alone.groupby("learning_rate"):
        only = float(str(key))
        beyond = [next_value([only], above=above) for above in (False, True)]
        others = " and ".join(f"{value:g}" for value in beyond if value is not None)
        yield (
            f"{listed(own['arm'].tolist())}: a single {rate.title} was tried, {only:g}; "
            f"add {others or 'others above it'}"
        )


def _confounded(arms: pd.DataFrame) -> Iterator[str]:
    settings = settings_of(arms[:MOST_PAIRS])
    differ = [differing_settings(a, b) for a, b in combinations(settings, 2)]
    if differ and all(len(keys) > 1 for keys in differ):
        names = [key.removeprefix(SETTING) for key in differ[0]]
        yield (
            "no two arms differ in one setting alone, so what a difference comes from is not "
            f"known: it may be {' or '.join(names)}"
        )


def find_tuning(cells: pd.DataFrame, rate: Rate | None) -> Tuning:
    """The arms whose chosen learning rate is at an end of several, or the only one.

    0 is no end: none is below it.
    """
    cells = cells[cells["learning_rate"] != NO_RATE]
    tried = cells.groupby("arm")["learning_rate"]
    lowest, highest = tried.transform("min"), tried.transform("max")
    rates = cells["learning_rate"]
    at_end = ((rates == lowest) & (rates > 0)) | (rates == highest)
    edge = cells["chosen"] & at_end & (lowest < highest)
    return Tuning(rate, set(cells.loc[edge, "arm"]), set(cells.loc[lowest == highest, "arm"]))


def _different_grids(cells: pd.DataFrame) -> Iterator[str]:
    cells = cells[cells["learning_rate"] != NO_RATE]
    everywhere = set(cells["learning_rate"])
    for arm in cells["arm"].unique():
        absent = sorted(everywhere - set(cells.loc[cells["arm"] == arm, "learning_rate"]))
        if absent:
            names = listed([f"{learning_rate:g}" for learning_rate in absent])
            yield f"{arm} has no finished run at {names}, where other arms have"


def _unequal_seeds(cells: pd.DataFrame) -> Iterator[str]:
    most = cells["n"].max()
    fewer = cells[cells["n"] < most]
    if not fewer.empty:
        names = [f"{_place(cell)} ({cell['n']})" for _, cell in fewer.iterrows()]
        yield f"cells differ in their number of runs, up to {most}; fewer: {listed(names)}"


def _mixed_outcomes(cells: pd.DataFrame) -> Iterator[str]:
    """Where a little decides how a run ends, rounding may be that little."""
    ends = cells[[*UNSOUND]].assign(sound=cells["n"] - cells[[*UNSOUND]].sum(axis=1))
    mixed = cells[((ends > 0).sum(axis=1) > 1) | (cells["far_off"] > 0)]
    if not mixed.empty:
        names = [f"{_place(cell)} ({_ends(cell)})" for _, cell in mixed.iterrows()]
        yield (
            f"seeds of one cell end differently: {listed(names)}; there rounding may decide, so "
            "that a seed may end otherwise alone, in a stack or on another processor"
        )


def _place(cell: pd.Series) -> str:
    """`mse at 0.1`, or the arm alone."""
    value = cell["learning_rate"]
    return cell["arm"] if value == NO_RATE else f"{cell['arm']} at {value:g}"


def _unstable_choices(
    cells: pd.DataFrame, arms: pd.DataFrame, measure: Measure, rate: Rate | None
) -> Iterator[str]:
    """Where another choice costs what the arm's interval does not tell."""
    ends = [*UNSOUND]
    for _, arm in arms.iterrows():
        own = cells[cells["arm"] == arm["arm"]]
        chosen = own[own["chosen"]].iloc[0]
        others = other_choices(own)
        low, high = arm["test_low"], arm["test_high"]
        worse = (
            others["test_mean"] < low if measure.higher_is_better else others["test_mean"] > high
        )
        costly = others[worse | (others[ends].sum(axis=1) > chosen[ends].sum())]
        if not costly.empty:
            told = listed([choice(cell, chosen, measure) for _, cell in costly.iterrows()])
            value = rate_text(arm["learning_rate"])
            yield (
                f"{arm['arm']}: its intervals hold for the chosen "
                f"{with_rate(rate, '{title}')} {value} alone; resamples of the seeds choose {told}"
            )


def _ends(cell: pd.Series) -> str:
    """`1 of 10 diverged, 2 far off the others`"""
    counts = {end: int(cell[end]) for end in UNSOUND} | {"far off the others": int(cell["far_off"])}
    first, *rest = [(k, outcome) for outcome, k in counts.items() if k]
    return ", ".join([f"{first[0]} of {cell['n']} {first[1]}", *(f"{k} {end}" for k, end in rest)])


def _other_seeds(runs: pd.DataFrame, cells: pd.DataFrame, rate: Rate | None) -> Iterator[str]:
    chosen = select_chosen(ended_runs(runs), cells)
    seeds = {str(arm): set(own["seed"]) for arm, own in chosen.groupby("arm")}
    if seeds and any(own != set.union(*seeds.values()) for own in seeds.values()):
        common = len(set.intersection(*seeds.values()))
        who = with_rate(rate, "the arms' chosen {plural}") or "the arms"
        yield (
            f"{who} were not run with the same seeds: {plural(common, 'seed')} in common, and only "
            "common seeds are paired"
        )


def _mixed_provenance(ended: pd.DataFrame) -> Iterator[str]:
    for column, noun in PROVENANCE.items():
        yield from _mixed(ended[column], noun)
    for data, group in ended.groupby("data"):
        yield from _mixed(group["data_checksum"], f"checksums of {data}")
    for column, noun in PROVENANCE.items():
        changed = ended.loc[ended[column].fillna("").str.contains(THEN), "run"].tolist()
        if changed:
            yield (
                f"{plural(len(changed), 'run')} began and ended on different {noun}: "
                f"{listed(changed)}"
            )
    dirty = int(ended["dirty"].eq(True).sum())
    if dirty:
        yield f"{plural(dirty, 'run')} trained from a checkout with uncommitted changes"


def _mixed(column: pd.Series, noun: str) -> Iterator[str]:
    counts = {str(kind): int(n) for kind, n in column.fillna("").value_counts().items()}
    if len(counts) > 1:
        shown = [f"{_own_parts(kind, counts)} ({plural(n, 'run')})" for kind, n in counts.items()]
        yield f"the runs mix {len(counts)} {noun}: {listed(shown)}"


def _own_parts(kind: str, kinds: Iterable[str]) -> str:
    """What sets one kind apart: the parts of its list that not every kind shares."""
    shared = set.intersection(*(set(other.split(", ")) for other in kinds))
    return ", ".join(part for part in kind.split(", ") if part not in shared) or "unknown"
