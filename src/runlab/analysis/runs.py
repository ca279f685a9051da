"""The runs of a sweep as one tidy table, read from their run records."""

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from sys import intern
from typing import Any

import pandas as pd

from runlab.analysis.arms import name_arms
from runlab.analysis.declarations import Declaration, agree_on_axes, read_declaration
from runlab.analysis.learning_rates import NO_RATE
from runlab.analysis.outcomes import Outcomes, outcomes_of
from runlab.analysis.variation import Variation, find_variation
from runlab.config.axes import ABSENT, Axes, check_rate, value_at
from runlab.config.fingerprint import key_of
from runlab.runs import alike, record

MODULE = "module/"
"""Begins the columns that hold what a run's module says of itself."""

THEN = " then "

KEPT = ("status", "choices", "config", "overrides", "launch", "parameters", "provenance")
KEPT_OF = {"metrics": ("val/samples", "test/samples"), "timing": ("started", "latest")}

Row = dict[str, Any]
Shared = dict[tuple[int, ...], tuple[Any, Any]]


def load(
    sweep: Path, arm: str | None = None, rate: str | None = None
) -> tuple[pd.DataFrame, dict[str, Declaration], Variation, Outcomes]:
    """One row a run, also for a run that failed or whose record can't be used; and what runs say.

    Metrics are as recorded; `learning_rate` is the value of the key that `comparison.rate` names,
    or `NO_RATE`. A record that can't be used has the status `unreadable` and the reason in
    `problem`; a run folder without one has the status `unrecorded`. The declarations are those of
    the other runs, by the run's name; the variation is of those that have ended. The outcomes are
    those of all records, also of those that can't be used.

    Args:
        arm, rate: keys in place of those that the runs name; `null` for none.

    Raises:
        ValueError: if there are no runs, or those that have ended name different keys.
    """
    if arm is not None or rate is not None:
        Axes(*(None if each == "null" else each for each in (arm, rate))).require_distinct()
    rows: list[Row] = []
    records: list[dict[str, Any]] = []
    declarations: dict[str, Declaration] = {}
    folders = record.launched_folders(Path(sweep))
    if not any(map(record.is_run, folders)):
        raise record.no_runs(Path(sweep))
    shared: Shared = {}
    for folder in folders:
        row, run_record, declaration = _read(folder, shared)
        rows.append(row)
        records.append(run_record)
        if declaration is not None:
            declarations[folder.name] = declaration
    ended = {row["run"] for row in rows if row["status"] in record.ENDED}
    counted = {run: own for run, own in declarations.items() if run in ended}
    axes = agree_on_axes(counted or declarations, arm, rate)
    rows = [_placed(row, own, axes) for row, own in zip(rows, records, strict=True)]
    _name_arms(rows, records, axes)
    usable = [own for row, own in zip(rows, records, strict=True) if row["status"] in record.ENDED]
    begun = [own for row, own in zip(rows, records, strict=True) if not row["problem"]]
    variation = find_variation(usable, begun, axes)
    named = zip((row["run"] for row in rows), records, strict=True)
    table = pd.DataFrame(rows).astype({"seed": "Int64"})
    return table, declarations, variation, outcomes_of(named)


def _placed(row: Row, run_record: dict[str, Any], axes: Axes) -> Row:
    """With the run's learning rate; a record in which that is none can't be used."""
    config = record.nested_dict(run_record, "config")
    value: Any = ABSENT if axes.rate is None else value_at(config, axes.rate)
    if row["problem"] or value is ABSENT:
        return row
    try:
        check_rate(str(axes.rate), value)
    except ValueError as error:
        return _unusable_row(row["run"], "unreadable", f"{error}, in run.json")
    return row | {"learning_rate": float(value)}


def ended_runs(runs: pd.DataFrame) -> pd.DataFrame:
    """The runs with an outcome, one for each arm, learning rate and seed."""
    return _all_ended(runs).drop_duplicates(["arm", "learning_rate", "seed"])


def duplicate_runs(runs: pd.DataFrame) -> pd.DataFrame:
    """The runs that `ended_runs` leaves out: their arm, learning rate and seed came before."""
    ended = _all_ended(runs)
    return ended[ended.duplicated(["arm", "learning_rate", "seed"])]


def _all_ended(runs: pd.DataFrame) -> pd.DataFrame:
    return runs[runs["status"].isin(record.ENDED)]


def _name_arms(rows: list[Row], records: list[dict[str, Any]], axes: Axes) -> None:
    """Adds the columns of each run's arm: what a failed run was to be names no arm of another."""
    readable = [index for index, row in enumerate(rows) if not row["problem"]]
    ended = [index for index in readable if rows[index]["status"] in record.ENDED]
    for group in (ended, sorted(set(readable) - set(ended))):
        arms = name_arms([records[index] for index in group], axes).to_dict("records")
        for index, settings in zip(group, arms, strict=True):
            rows[index] |= {str(key): value for key, value in settings.items()}


def _read(folder: Path, shared: Shared) -> tuple[Row, dict[str, Any], Declaration | None]:
    run_record: dict[str, Any] = {}
    try:
        run_record = alike.read(folder)
        row = _row(folder, run_record, shared)
        measures, comparison = run_record["measures"], run_record["config"].get("comparison")
        declaration = _once(shared, (measures, comparison), lambda: read_declaration(run_record))
        return row, _kept(run_record), declaration
    except ValueError as error:
        if not record.is_run(folder):
            problem = "it has no run.json: it never started, or was killed before its first record"
            return _unusable_row(folder.name, "unrecorded", problem), {}, None
        row = _unusable_row(folder.name, "unreadable", str(error))
        return row, _kept(run_record) if run_record else {}, None


def _once(shared: Shared, values: tuple[Any, ...], make: Callable[[], Any]) -> Any:
    """What is made of these values, once for all runs in which they are the same objects."""
    key = tuple(map(id, values))
    if key not in shared:
        shared[key] = values, make()  # with the values, so that nothing else gets their identity
    return shared[key][1]


def _kept(run_record: dict[str, Any]) -> dict[str, Any]:
    """What of a record is asked for once all are read: a tenth of it."""
    kept = {name: run_record[name] for name in KEPT if name in run_record}
    for name, keys in KEPT_OF.items():
        own = record.nested_dict(run_record, name)
        kept[name] = {key: own[key] for key in keys if key in own}
    return kept


def _unusable_row(run: str, status: str, problem: str) -> Row:
    empty = {"arm": None, "loss": None, "learning_rate": NO_RATE, "seed": None}
    return {"run": run, "status": status, "problem": problem} | empty


def _row(folder: Path, run_record: dict[str, Any], shared: Shared) -> Row:
    row: Row = {
        "run": folder.name,
        "status": _required(run_record, "status"),
        "problem": "",
        "arm": None,
        "loss": record.nested_dict(run_record, "choices").get("loss"),
        "data": record.nested_dict(run_record, "choices").get("data", ""),
        "learning_rate": NO_RATE,
        "seed": _required(run_record, "config", "seed"),
        "fingerprint": run_record.get("fingerprint"),
        # `StackDifferenceError` alone makes a failed run start anew
        "stack_differs": run_record["status"] == "failed" and run_record.get("from_start", False),
        "margin_set": any(map(_sets_margin, run_record.get("overrides") or ())),
    }
    module = record.nested_dict(run_record, "module")
    metrics = record.nested_dict(run_record, "metrics")
    timing = record.nested_dict(run_record, "timing")
    provenance = run_record.get("provenance")
    columns = {
        **{intern(f"{MODULE}{key}"): value for key, value in module.items()},
        **metrics,
        **{intern(f"timing/{key}"): value for key, value in timing.items()},
        **_once(
            shared, (provenance,), lambda: _provenance(record.nested_dict(run_record, "provenance"))
        ),
    }
    return row | {key: _plain(value) for key, value in columns.items() if key not in row}


def _provenance(provenance: dict[str, Any]) -> dict[str, Any]:
    """What a run was trained on; what changed while it was stopped is joined by `then`."""
    stages = [*(provenance.get("earlier") or []), provenance]
    git = [record.nested_dict(stage, "git") for stage in stages]
    revisions = [str(each["revision"]) for each in git if each.get("revision")]
    return {
        "revision": _joined(revisions) or None,
        "dirty": any(each.get("dirty") for each in git) if revisions else None,
        "hardware": _joined(_sentence(stage.get("hardware")) for stage in stages),
        "versions": _joined(_sentence(stage.get("versions")) for stage in stages),
        "data_checksum": _sentence(provenance.get("data")),
    }


def _joined(stages: Iterable[str]) -> str:
    return THEN.join(dict.fromkeys(stages))


def _sentence(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {item}" for key, item in sorted(value.items()) if item is not None)
    return "" if value is None else str(value)


def _plain(value: Any) -> Any:
    return json.dumps(value) if isinstance(value, dict | list) else value


def _required(run_record: dict[str, Any], *keys: str) -> Any:
    value: Any = run_record
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    if value is None:
        raise ValueError(f"expected {'.'.join(keys)} in run.json, got none; run it again")
    return value


def _sets_margin(override: str) -> bool:
    """Whether an override of the command line does, by itself or by a file that it chooses."""
    key = key_of(override)
    return key in ("comparison.margin", "comparison") or key.startswith("comparison.margin.")
