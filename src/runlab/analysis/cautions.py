"""What could mislead a reader of this sweep, one sentence each."""

from collections.abc import Iterable, Iterator
from itertools import combinations

import pandas as pd

from runlab.analysis.arms import SETTING, ordered, settings_of
from runlab.analysis.cells import of_chosen, values
from runlab.analysis.differences import MOST_PAIRS, differing
from runlab.analysis.grid import next_value
from runlab.analysis.measure import Measure
from runlab.analysis.runs import THEN, counted, repeated
from runlab.analysis.wording import Tuning, listed
from runlab.runs.record import ENDED
from runlab.text import plural

PROVENANCE = {
    "revision": "git revisions",
    "hardware": "kinds of hardware",
    "versions": "sets of library versions",
}


def find_cautions(
    runs: pd.DataFrame, cells: pd.DataFrame, arms: pd.DataFrame, measure: Measure
) -> list[str]:
    return [
        *_unusable(runs),
        *_unfinished(runs),
        *_repeated(runs),
        *_without_result(runs, measure),
        *_absent_arms(runs, cells),
        *_edges(cells),
        *_single_rates(cells),
        *_confounded(arms),
        *_different_grids(cells),
        *_unequal_seeds(cells),
        *_other_seeds(runs, cells),
        *_mixed_provenance(counted(runs)),
    ]


def _unusable(runs: pd.DataFrame) -> Iterator[str]:
    for _, run in runs[runs["problem"] != ""].iterrows():
        yield f"{run['run']} is left out: {run['problem']}"


def _unfinished(runs: pd.DataFrame) -> Iterator[str]:
    waiting = runs[(runs["problem"] == "") & ~runs["status"].isin(ENDED)]
    for status, group in waiting.groupby("status"):
        yield f"{plural(len(group), 'run')} left out as {status}: {listed(group['run'].tolist())}"


def _repeated(runs: pd.DataFrame) -> Iterator[str]:
    again = repeated(runs)["run"].tolist()
    if again:
        yield (
            f"{plural(len(again), 'run')} left out, as another has the same arm, learning rate and "
            f"seed: {listed(again)}"
        )


def _without_result(runs: pd.DataFrame, measure: Measure) -> Iterator[str]:
    outcomes = counted(runs)
    for split in ("val", "test"):
        metric = f"{split}/{measure.name}"
        absent = outcomes.loc[values(outcomes, metric).isna(), "run"].tolist()
        if absent:
            yield (
                f"{plural(len(absent), 'run')} recorded no {metric}, so "
                f"the mean of the cell is not known: {listed(absent)}"
            )


def _absent_arms(runs: pd.DataFrame, cells: pd.DataFrame) -> Iterator[str]:
    for arm in ordered(set(runs["arm"].dropna()) - set(cells["arm"])):
        yield f"{arm}: no run has finished, so the arm is missing from every table"


def _edges(cells: pd.DataFrame) -> Iterator[str]:
    for arm in ordered(cells["arm"]):
        own = cells[cells["arm"] == arm]
        rates = own["learning_rate"].tolist()
        lower, higher = next_value(rates, above=False), next_value(rates, above=True)
        if (own["diverged"] == own["n"]).all():
            yield f"{arm}: every run diverged; add smaller learning rates, {lower:g} first"
        elif len(rates) > 1:
            yield from _edge(arm, own, {min(rates): lower, max(rates): higher})


def _edge(arm: str, own: pd.DataFrame, beyond: dict[float, float]) -> Iterator[str]:
    for rate in own.loc[own["chosen"], "learning_rate"]:
        if rate in beyond:
            end = "smallest" if rate == own["learning_rate"].min() else "largest"
            yield (
                f"{arm}: its chosen learning rate {rate:g} is the {end} that was tried, "
                f"so a better one may lie beyond; add {beyond[rate]:g}"
            )


def _single_rates(cells: pd.DataFrame) -> Iterator[str]:
    tried = cells.groupby("arm")["learning_rate"].transform("nunique")
    alone = cells[(tried == 1) & (cells["diverged"] < cells["n"])]
    for rate, own in alone.groupby("learning_rate"):
        lower, higher = (next_value([float(str(rate))], above=above) for above in (False, True))
        yield (
            f"{listed(ordered(own['arm']))}: a single learning rate was tried, {rate:g}; "
            f"add {lower:g} and {higher:g}"
        )


def _confounded(arms: pd.DataFrame) -> Iterator[str]:
    settings = settings_of(arms[:MOST_PAIRS])
    differ = [differing(a, b) for a, b in combinations(settings, 2)]
    if differ and all(len(keys) > 1 for keys in differ):
        names = [key.removeprefix(SETTING) for key in differ[0]]
        yield (
            "no two arms differ in one setting alone, so what a difference comes from is not "
            f"known: it may be {' or '.join(names)}"
        )


def find_tuning(cells: pd.DataFrame) -> Tuning:
    """The arms whose chosen learning rate is at an end of several, or the only one."""
    rates = cells.groupby("arm")["learning_rate"]
    lowest, highest = rates.transform("min"), rates.transform("max")
    at_end = (cells["learning_rate"] == lowest) | (cells["learning_rate"] == highest)
    edge = cells["chosen"] & at_end & (lowest < highest)
    return Tuning(set(cells.loc[edge, "arm"]), set(cells.loc[lowest == highest, "arm"]))


def _different_grids(cells: pd.DataFrame) -> Iterator[str]:
    everywhere = set(cells["learning_rate"])
    for arm in ordered(cells["arm"]):
        absent = sorted(everywhere - set(cells.loc[cells["arm"] == arm, "learning_rate"]))
        if absent:
            rates = listed([f"{rate:g}" for rate in absent])
            yield f"{arm} has no finished run at {rates}, where other arms have"


def _unequal_seeds(cells: pd.DataFrame) -> Iterator[str]:
    most = cells["n"].max()
    fewer = cells[cells["n"] < most]
    if not fewer.empty:
        names = [f"{c['arm']} at {c['learning_rate']:g} ({c['n']})" for _, c in fewer.iterrows()]
        yield f"cells differ in their number of runs, up to {most}; fewer: {listed(names)}"


def _other_seeds(runs: pd.DataFrame, cells: pd.DataFrame) -> Iterator[str]:
    chosen = of_chosen(counted(runs), cells)
    seeds = {str(arm): set(own["seed"]) for arm, own in chosen.groupby("arm")}
    if seeds and any(own != set.union(*seeds.values()) for own in seeds.values()):
        common = len(set.intersection(*seeds.values()))
        yield (
            "the arms' chosen learning rates were not run with the same seeds: "
            f"{plural(common, 'seed')} in common, and only common seeds are paired"
        )


def _mixed_provenance(outcomes: pd.DataFrame) -> Iterator[str]:
    for column, noun in PROVENANCE.items():
        yield from _mixed(outcomes[column], noun)
    for data, group in outcomes.groupby("data"):
        yield from _mixed(group["data_checksum"], f"checksums of {data}")
    for column, noun in PROVENANCE.items():
        changed = outcomes.loc[outcomes[column].fillna("").str.contains(THEN), "run"].tolist()
        if changed:
            yield (
                f"{plural(len(changed), 'run')} began and ended on different {noun}: "
                f"{listed(changed)}"
            )
    dirty = int(outcomes["dirty"].eq(True).sum())
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
