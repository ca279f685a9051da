"""What runs left beside their records: learning curves, scores of single test samples."""

import csv
import math
from array import array
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from numpy.typing import NDArray

from runlab.analysis.formatting import listed
from runlab.measure import Measure
from runlab.text import plural

MOST_STEPS = 2**53
"""Up to which a count is exact as a float."""


@dataclass(frozen=True)
class SampleScores:
    """How well one run did on each test sample.

    Attributes:
        scores: [samples]; their mean is the measure, as recorded.
        targets: [samples, ...]; two runs with equal ones were tested on the same samples.
    """

    scores: NDArray
    targets: NDArray


def read_curves(
    sweep: Path, runs: pd.DataFrame, measures: Sequence[Measure]
) -> tuple[pd.DataFrame, list[str]]:
    """One row a validation of each run: run, arm, learning_rate, seed, epoch, step, its metrics.

    Measures are in their units. Also a sentence for each file that can't be used.
    """
    columns = ["run", "arm", "learning_rate", "seed"]
    of_runs: list[tuple[object, ...]] = []
    metrics: dict[str, array[float]] = {}
    problems: list[str] = []
    for key in runs[columns].itertuples(index=False, name=None):
        try:
            rows = _curve(sweep / str(key[0]) / "curves.csv")
        except FileNotFoundError:
            continue
        except (OSError, ValueError, csv.Error) as error:
            problems.append(f"{key[0]}: its curves.csv can't be used: {error}")
            continue
        _append(metrics, rows, len(of_runs))
        of_runs += [key] * len(rows)
    if not of_runs:
        nothing = [("", "", math.nan, 0, math.nan, math.nan)]
        return pd.DataFrame(nothing, columns=[*columns, "epoch", "step"])[:0], problems
    known = {name: [key[place] for key in of_runs] for place, name in enumerate(columns)}
    values = {name: _filled(column, len(of_runs)) for name, column in metrics.items()}
    return _in_units(pd.DataFrame(known | values), measures), problems


def _append(
    columns: dict[str, "array[float]"], rows: Sequence[Mapping[str, float]], before: int
) -> None:
    """Adds rows that have the same names to columns in which there are so many before them.

    A column of numbers, as a mapping for each row takes ten times the room.
    """
    for name in rows[0] if rows else ():
        column = _filled(columns.setdefault(name, array("d")), before)
        column.extend(row[name] for row in rows)


def _filled(column: "array[float]", length: int) -> "array[float]":
    """With NaN to its end."""
    column.extend([math.nan] * (length - len(column)))
    return column


def _curve(path: Path) -> list[dict[str, float]]:
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.reader(file)
        names = next(reader, [])
        if not {"epoch", "step"} <= set(names):
            raise ValueError("expected columns epoch and step, got none such")
        metrics = [name for name in names if name.startswith(("train/", "val/"))]
        if len(set(names)) < len(names) or len(metrics) < len(names) - 2:
            raise ValueError("expected columns epoch, step, train/… and val/…, each once")
        rows = [
            {name: float(value or "nan") for name, value in zip(names, row, strict=True)}
            for row in reader
        ]
    for row in rows:
        if not (0 <= row["epoch"] < MOST_STEPS and 0 <= row["step"] < MOST_STEPS):
            raise ValueError(
                f"expected counts as epoch and step, got {row['epoch']}, {row['step']}"
            )
    return rows


def _in_units(history: pd.DataFrame, measures: Sequence[Measure]) -> pd.DataFrame:
    scales = {measure.name: measure.scale for measure in measures if measure.scale != 1}
    for column in [str(name) for name in history]:
        if (scale := scales.get(column.rpartition("/")[2])) is not None and "/" in column:
            history[column] = scale * history[column]
    return history


def find_missing(what: str, runs: Iterable[str], kept: Collection[str]) -> list[str]:
    """A sentence that names the runs without it where others have it; none where no run has it."""
    without = [run for run in runs if run not in kept]
    if not without or not kept:
        return []
    return [f"{plural(len(without), 'run')} of the chosen cells kept no {what}: {listed(without)}"]
