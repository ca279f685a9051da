"""Columns of settings, tables in parts, and files that are replaced together."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from runlab import atomic
from runlab.analysis import rendering
from runlab.analysis.columns import columns
from runlab.config.fingerprint import flatten


def flat(name: str, value: object) -> dict[str, str]:
    return {key: str(own) for key, own in flatten({name: value}).items()}


def test_keys_come_in_the_order_of_runs_and_absent_ones_are_empty() -> None:
    model = {"width": 8}
    nodes = [{"seed": 0, "model": model}, {"seed": 1, "model": model, "loss": {"a": 1}},
             {"model": {"depth": 2, "width": 8}}]  # fmt: skip
    found = columns(nodes, flat)
    assert list(found) == ["seed", "model.width", "loss.a", "model.depth"]
    assert found["seed"] == ["0", "1", ""]
    assert found["model.width"] == ["8", "8", "8"]
    assert found["model.depth"] == ["", "", "2"]


def test_what_runs_share_is_flattened_once() -> None:
    asked: list[object] = []
    shared = {"width": 8}

    def counting(name: str, value: object) -> dict[str, str]:
        asked.append(value)
        return flat(name, value)

    columns([{"model": shared}, {"model": shared}, {"model": {"width": 8}}], counting)
    assert len(asked) == 2


def test_a_table_in_parts_is_the_table_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    table = pd.DataFrame(
        {"=run": ["=a()", "b", "c", None], "x": [0.1, np.nan, 1e-30, 3.0], "ok": [True] * 4}
    ).assign(seed=pd.array([1, None, 3, 4], dtype="Int64"))
    at_once = rendering.to_csv(table)
    monkeypatch.setattr(rendering, "ROWS_AT_ONCE", 3)
    assert rendering.to_csv(table) == at_once
    assert at_once.startswith(b"'=run,x,ok,seed\n'=a(),0.1,True,1\nb,,True,\n")
    assert rendering.to_csv(table[:0]) == b"'=run,x,ok,seed\n"


def test_no_file_is_replaced_before_all_are_made(tmp_path: Path) -> None:
    (tmp_path / "first").write_text("old")

    def contents():
        yield tmp_path / "first", [b"n", b"ew"]
        raise ValueError("the second can't be made")

    with pytest.raises(ValueError, match="can't be made"):
        atomic.replace_all(contents())
    assert (tmp_path / "first").read_text() == "old"
    atomic.replace_all([(tmp_path / "first", [b"n", b"ew"])])
    assert (tmp_path / "first").read_text() == "new"
    atomic.replace_all([(tmp_path / "first", None)])
    assert list(tmp_path.iterdir()) == []
