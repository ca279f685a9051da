"""Which two runs of a sweep are drawn: two arms, each of its chosen cell, one seed."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import pandas as pd

from runlab.analysis.cells import select_chosen
from runlab.analysis.comparison import Comparison
from runlab.analysis.learning_rates import NO_RATE, Rate, rate_text, with_rate
from runlab.analysis.runs import ended_runs
from runlab.config import fingerprint
from runlab.config.schema import unknown
from runlab.runs import record


@dataclass(frozen=True)
class ChosenRun:
    """A finished run, and the arm that it stands for.

    Attributes:
        rate: what was tuned for the arm; None where nothing was.
        learning_rate: the chosen value of it.
    """

    arm: str
    folder: Path
    record: dict[str, Any]
    rate: Rate | None
    learning_rate: float

    @property
    def config(self) -> dict[str, Any]:
        return self.record["config"]


Pair = tuple[ChosenRun, ChosenRun]


def choose(comparison: Comparison, arms: Sequence[str] = (), seed: int | None = None) -> Pair:
    """Two runs with one start, each of an arm's chosen cell.

    Args:
        arms: two of them; by default the first two with one network and different losses.
        seed: by default the smallest with which both runs finished.

    Raises:
        ValueError: if there are no such runs.
    """
    there = list(comparison.arms["arm"])
    if len(there) < 2:
        raise ValueError(
            f"expected at least two arms with finished runs in {comparison.sweep}, got "
            f"{', '.join(there) or 'none'}: train another into it, for example "
            f"{comparison.axes.arm or 'loss'}=…"
        )
    cells = {arm: chosen_cell(comparison, arm) for arm in there}
    pair = check_arms(arms, there) if arms else default_arms(comparison.sweep, cells)
    shared = choose_seed(pair, [cells[arm] for arm in pair], seed, comparison.rate)
    first, second = (read_run(comparison, cells[arm], shared) for arm in pair)
    require_same_start(first, second)
    return first, second


def chosen_cell(comparison: Comparison, arm: str) -> pd.DataFrame:
    """The runs of an arm's chosen cell, one a seed, the smallest seed first."""
    runs = select_chosen(ended_runs(comparison.runs), comparison.cells)
    return runs[runs["arm"] == arm].sort_values("seed")


def check_arms(arms: Sequence[str], there: Sequence[str]) -> tuple[str, str]:
    for arm in arms:
        if arm not in there:
            raise ValueError(unknown(repr(arm), arm, "arm", there))
    if len(arms) != 2 or arms[0] == arms[1]:
        raise ValueError(f"expected two different arms, got {' and '.join(arms)}: name two")
    return arms[0], arms[1]


def default_arms(sweep: Path, cells: dict[str, pd.DataFrame]) -> tuple[str, str]:
    """The first two arms whose networks are the same and whose losses differ, as far as any are."""
    configs = {
        arm: record.read(sweep / cell["run"].iloc[0])["config"] for arm, cell in cells.items()
    }

    def unlike(pair: tuple[str, str]) -> tuple[bool, bool]:
        one, other = (configs[arm] for arm in pair)
        return one.get("model") != other.get("model"), one.get("loss") == other.get("loss")

    return min(combinations(cells, 2), key=unlike)  # the first of equals


def choose_seed(
    pair: tuple[str, str], cells: Sequence[pd.DataFrame], seed: int | None, rate: Rate | None
) -> int:
    finished = [set(cell.loc[cell["status"] == "finished", "seed"]) for cell in cells]
    both = sorted(map(int, finished[0] & finished[1]))
    if not both or seed not in (None, *both):
        seeds = "; ".join(
            arm
            + with_rate(rate, f" at its chosen {{title}} {rate_text(cell.learning_rate.iloc[0])}")
            + f": {outcomes_text(cell)}"
            for arm, cell in zip(pair, cells, strict=True)
        )
        raise ValueError(
            f"expected a run of both arms that finished with {'one' if seed is None else 'the'} "
            f"seed{'' if seed is None else f' {seed}'}, got {seeds}: "
            f"{f'choose --seed from {both}' if both else 'train such runs, or choose other --arms'}"
        )
    return both[0] if seed is None else seed


def outcomes_text(cell: pd.DataFrame) -> str:
    return ", ".join(f"seed {run.seed} {run.status}" for run in cell.itertuples())


def read_run(comparison: Comparison, cell: pd.DataFrame, seed: int) -> ChosenRun:
    row = cell[cell["seed"] == seed].iloc[0]
    folder = comparison.sweep / row["run"]
    rate = None if row["learning_rate"] == NO_RATE else comparison.rate
    config = record.read(folder)["config"]
    if config.get("model") is None or config.get("loss") is None:
        raise ValueError(
            "expected two arms with a network and a loss of their configuration, got "
            f"{row['arm']}, whose module takes none: name two others by --arms"
        )
    entry = record.read_complete(folder)
    return ChosenRun(row["arm"], folder, entry, rate, row["learning_rate"])


def require_same_start(first: ChosenRun, second: ChosenRun) -> None:
    """Both networks are built from the same configuration and the same seed."""
    models = [fingerprint.flatten({"model": run.config["model"]}) for run in (first, second)]
    if models[0] != models[1]:
        raise ValueError(
            f"expected two arms with one network, whose starts are one point, got {first.arm} and "
            f"{second.arm} with different ones ({'; '.join(fingerprint.changes(*models))}): "
            "name two arms with the same model by --arms"
        )
