"""The runs of a sweep as one tidy table, read from their run records."""

import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from runlab.analysis.arms import name_arms
from runlab.runs import record

THEN = " then "


def load(sweep: Path) -> pd.DataFrame:
    """One row a run, also for a run that failed or whose record can't be used.

    Accuracies are fractions. Such a record has the status `unreadable` and the reason in `problem`;
    a run folder without one has the status `unrecorded`. Raises ValueError where there are no runs.
    """
    rows: list[dict[str, Any]] = []
    records: list[dict[str, Any]] = []
    for folder in _run_folders(Path(sweep)):
        row, run_record = _read(folder)
        rows.append(row)
        records.append(run_record)
    readable = [index for index, row in enumerate(rows) if not row["problem"]]
    # what a failed run was meant to be does not name the arms of the others
    outcomes = [index for index in readable if rows[index]["status"] in record.ENDED]
    for group in (outcomes, [index for index in readable if index not in set(outcomes)]):
        arms = name_arms([records[index] for index in group]).to_dict("records")
        for index, settings in zip(group, arms, strict=True):
            rows[index] |= {str(key): value for key, value in settings.items()}
    return pd.DataFrame(rows).astype({"seed": "Int64"})


def counted(runs: pd.DataFrame) -> pd.DataFrame:
    """The finished and diverged runs, one for each arm, learning rate and seed."""
    return _outcomes(runs).drop_duplicates(["arm", "learning_rate", "seed"])


def repeated(runs: pd.DataFrame) -> pd.DataFrame:
    """The runs that `counted` leaves out, as their arm, learning rate and seed came before."""
    outcomes = _outcomes(runs)
    return outcomes[outcomes.duplicated(["arm", "learning_rate", "seed"])]


def _outcomes(runs: pd.DataFrame) -> pd.DataFrame:
    return runs[runs["status"].isin(record.ENDED)]


def _run_folders(sweep: Path) -> list[Path]:
    recorded = record.folders(sweep)
    return sorted({*recorded, *(child for child in sweep.iterdir() if (child / ".hydra").is_dir())})


def _read(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    if not (folder / "run.json").exists():
        problem = "it has no run.json: it never started, or was killed before its first record"
        return _unusable(folder, "unrecorded", problem), {}
    try:
        run_record = record.read(folder)
        return _row(folder, run_record), run_record
    except ValueError as error:
        return _unusable(folder, "unreadable", str(error)), {}


def _unusable(folder: Path, status: str, problem: str) -> dict[str, Any]:
    empty = {"arm": None, "loss": None, "learning_rate": math.nan, "seed": None}
    return {"run": folder.name, "status": status, "problem": problem} | empty


def _row(folder: Path, run_record: dict[str, Any]) -> dict[str, Any]:
    row: dict[str, Any] = {
        "run": folder.name,
        "status": _required(run_record, "status"),
        "problem": "",
        "arm": None,
        "loss": _required(run_record, "choices", "loss"),
        "data": record.nested_dict(run_record, "choices").get("data", ""),
        "learning_rate": _number(_required(run_record, "config", "optimizer", "lr")),
        "seed": _whole(_required(run_record, "config", "seed")),
    }
    metrics = record.nested_dict(run_record, "metrics")
    if row["status"] == "finished" and metrics.get("val/accuracy") is None:
        raise ValueError("expected val/accuracy in the metrics of a finished run, got none")
    timing = {
        f"timing/{key}": value for key, value in record.nested_dict(run_record, "timing").items()
    }
    provenance = _provenance(record.nested_dict(run_record, "provenance"))
    row["fingerprint"] = run_record.get("fingerprint")
    row["mapping"] = run_record.get("mapping") or ""
    row["margin"] = _margin(record.nested_dict(run_record, "config", "comparison").get("margin"))
    return row | {key: _plain(value) for key, value in (metrics | timing | provenance).items()}


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


def _margin(margin: Any) -> float | None:
    if margin is not None and (not isinstance(margin, int | float) or not 0 < margin < math.inf):
        raise ValueError(f"expected a comparison.margin above 0 in run.json, got {margin!r}")
    return margin


def _whole(seed: Any) -> int:
    if not isinstance(seed, int):
        raise ValueError(f"expected a whole number as seed in run.json, got {seed!r}")
    return seed


def _number(learning_rate: Any) -> float:
    if not isinstance(learning_rate, int | float) or not 0 < learning_rate < math.inf:
        raise ValueError(f"expected a positive optimizer.lr in run.json, got {learning_rate!r}")
    return float(learning_rate)
