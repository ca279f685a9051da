"""Two sweeps, number by number: whether a change of the code left every number as it was."""

import csv
import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64, Shaped
from numpy import ndarray

from runlab.runs import checkpoint, record
from runlab.text import aligned, plural, wrapped

Values = Mapping[str, Shaped[ndarray, "..."]]
"""What a file holds, by name: numbers in double precision, or texts."""

Renames = Sequence[tuple[str, str]]
"""Texts in the names of the first sweep, each with what the second one has in its place."""

PREDICTED = "predictions: predicted"
"""Where two outputs are almost equal, rounding decides; a tolerance can't say how often."""


@dataclass(frozen=True)
class Difference:
    """One quantity of one run, compared.

    Attributes:
        kind: what it is of: the status, metrics, curves, predictions or weights.
        compared: how many values it has.
        differ: how many of them lie apart by more than the tolerance.
        largest: absolute difference; infinite where one of the two is no finite number, or absent.
    """

    kind: str
    run: str
    name: str
    compared: int
    differ: int
    largest: float


@dataclass(frozen=True)
class SweepDifference:
    """All quantities of the runs that both sweeps have, and what could not be compared.

    Attributes:
        problems: a sentence for each run that one sweep lacks, and for each damaged file.
    """

    runs: int
    tolerance: float
    differences: list[Difference]
    problems: list[str]

    @property
    def is_same(self) -> bool:
        return not self.problems and not any(map(self.counts, self.differences))

    def counts(self, each: Difference) -> bool:
        """Whether it makes the sweeps differ."""
        may_differ = each.kind == PREDICTED and self.tolerance > 0 and math.isfinite(each.largest)
        return each.differ > 0 and not may_differ

    def terminal(self) -> str:
        kinds = {
            kind: [each for each in self.differences if each.kind == kind]
            for kind in dict.fromkeys(each.kind for each in self.differences)
        }
        header = ["what", "values compared", "differ", "largest difference"]
        lines = aligned(header, (table_row(kind, each) for kind, each in kinds.items()))
        for kind, differences in kinds.items():
            largest = max(differences, key=lambda each: (each.differ > 0, each.largest))
            if largest.largest > 0 or largest.differ > 0:
                lines += wrapped(f"{kind}: most in {largest.run}: {largest.name}", "- ")
        for problem in self.problems:
            lines += wrapped(problem, "- ")
        return "\n".join([*lines, "", *wrapped(self.verdict())])

    def verdict(self) -> str:
        compared = sum(each.compared for each in self.differences)
        differ = sum(each.differ for each in self.differences if self.counts(each))
        runs = plural(self.runs, "run")
        if self.is_same:
            equal = f"within {self.tolerance:g}" if self.tolerance else "equal, bit for bit"
            sentence = f"the same: {runs}, all {compared:,} values {equal}"
        else:
            more = f" by more than {self.tolerance:g}" if self.tolerance else ""
            problems = f", {plural(len(self.problems), 'problem')}" if self.problems else ""
            sentence = (
                f"not the same: {runs} compared, {differ:,} of {compared:,} values "
                f"differ{more}{problems}"
            )
        allowed = sum(each.differ for each in self.differences) - differ
        if allowed:
            return f"{sentence}; a tolerance allows that {allowed:,} of the predictions differ"
        return sentence


def table_row(kind: str, differences: Sequence[Difference]) -> list[str]:
    compared, differ = (sum(getattr(d, key) for d in differences) for key in ("compared", "differ"))
    return [kind, f"{compared:,}", f"{differ:,}", f"{max(d.largest for d in differences):.3g}"]


def compare_numbers(
    before: Path, after: Path, tolerance: float = 0.0, renames: Renames = ()
) -> SweepDifference:
    """Compares runs that have one name; `before` may be of another layout of records.

    Args:
        tolerance: absolute difference up to which numbers count as equal. With 0 they are compared
            bit for bit. NaN and null equal themselves.
        renames: of runs, metrics, columns, arrays and weights in `before`.

    Raises:
        ValueError: if a folder is no sweep, or two names become one.
    """
    if not 0 <= tolerance < math.inf:
        raise ValueError(f"expected a tolerance of at least 0, got {tolerance}")
    old = rename_keys({folder.name: folder for folder in record.folders(before)}, renames)
    new = {folder.name: folder for folder in record.folders(after)}
    problems = [
        *(f"only in {before}: {name}" for name in old if name not in new),
        *(f"only in {after}: {name}" for name in new if name not in old),
    ]
    both = [name for name in old if name in new]
    differences: list[Difference] = []
    for run in both:
        for kind in KINDS:
            try:
                values = read_values(kind, old[run]), read_values(kind, new[run])
            except UnreadableError as error:
                problems.append(str(error))
            else:
                renamed = rename_keys(values[0], renames)
                differences += compare_values(kind, run, renamed, values[1], tolerance)
    return SweepDifference(len(both), tolerance, differences, problems)


def rename_keys(mapping: Mapping[str, Any], renames: Renames) -> dict[str, Any]:
    renamed: dict[str, Any] = {}
    for name, value in mapping.items():
        for old, new in renames:
            name = name.replace(old, new)
        if name in renamed:
            raise ValueError(
                f"expected names that stay different, got two that become {name}: "
                "give other texts by --rename"
            )
        renamed[name] = value
    return renamed


def compare_values(
    kind: str, run: str, before: Values, after: Values, tolerance: float
) -> Iterator[Difference]:
    for name in dict.fromkeys([*before, *after]):
        label = f"{kind}: {name}" if kind == "predictions" else kind
        if name in before and name in after:
            yield Difference(label, run, name, *count(before[name], after[name], tolerance))
        else:
            size = (before if name in before else after)[name].size
            side = "first" if name in before else "second"
            where = f"{name}, in the {side} sweep alone"
            yield Difference(label, run, where, size, size, math.inf)


def count(
    before: Shaped[ndarray, "..."], after: Shaped[ndarray, "..."], tolerance: float
) -> tuple[int, int, float]:
    """How many values were compared, how many differ, and the largest difference."""
    if before.shape != after.shape or before.dtype.kind != after.dtype.kind:
        size = max(before.size, after.size)
        return size, size, math.inf
    if before.dtype.kind != "f":  # texts
        differ = int((before != after).sum())
        return before.size, differ, math.inf if differ else 0.0
    # the bits, since 0.0 == -0.0
    same = before.view(np.int64) == after.view(np.int64)
    same |= np.isnan(before) & np.isnan(after)
    with np.errstate(invalid="ignore"):  # inf - inf
        distances = np.where(
            same, 0.0, np.nan_to_num(np.abs(after - before), nan=math.inf, posinf=math.inf)
        )
    differ = int((~same & ((distances > tolerance) | (tolerance == 0))).sum())
    return before.size, differ, float(distances.max(initial=0.0))


# What a run's files hold


def read_status(path: Path) -> Values:
    return {"status": np.array(str(json.loads(path.read_text(encoding="utf-8"))["status"]))}


def read_metrics(path: Path) -> Values:
    """Of plain JSON: `record.read` would refuse the layout of another release."""
    metrics = json.loads(path.read_text(encoding="utf-8"))["metrics"]
    return {name: to_array([value]) for name, value in metrics.items()}


def read_curves(path: Path) -> Values:
    with path.open(encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    return {
        name: to_array(float(row[column]) if row[column] else None for row in rows)
        for column, name in enumerate(header)
    }


def read_predictions(path: Path) -> Values:
    with np.load(path) as arrays:
        return {
            name: array.astype(np.float64) if array.dtype.kind in "fiub" else array
            for name, array in arrays.items()
        }


def read_weights(path: Path) -> Values:
    weights = checkpoint.read(path)["state_dict"]
    return {name: value.double().numpy() for name, value in weights.items()}


def to_array(values: Iterable[float | None]) -> Float64[ndarray, " values"]:
    return np.array([math.nan if value is None else value for value in values], dtype=np.float64)


KINDS: dict[str, tuple[str, Callable[[Path], Values]]] = {
    "status": ("run.json", read_status),
    "metrics": ("run.json", read_metrics),
    "curves": ("curves.csv", read_curves),
    "predictions": ("predictions.npz", read_predictions),
    "weights, best": ("checkpoints/best.ckpt", read_weights),
    "weights, last": ("checkpoints/last.ckpt", read_weights),
}
"""What is compared: the file that holds it in a run's folder, and its reader."""


class UnreadableError(ValueError):
    """A file that is there and cannot be compared."""


def read_values(kind: str, run: Path) -> Values:
    """Nothing where there is no such file."""
    name, read = KINDS[kind]
    path = run / name
    if not path.exists():
        return {}
    try:
        return read(path)
    except Exception as error:  # whatever readers of JSON, CSV, NumPy's and torch's files raise
        reason = str(error).partition("\n")[0]
        raise UnreadableError(
            f"{path} can't be compared ({type(error).__name__}: {reason})"
        ) from error
