"""What lies in a sweep may be damaged: it is named and left out, and the rest goes on."""

import copy
import json
import math
import os
import random
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from runlab.analysis.compare import compare
from runlab.analysis.comparison import Comparison
from runlab.analysis.terminal import terminal
from runlab.analysis.write import write
from runlab.runs import record
from runlab.runs.record_rules import find_problem
from runlab.sweeps.status import sweep_status
from tests.analysis.synthetic import keep_curves, write_run

DEEP: Any = 0
for _ in range(200):
    DEEP = [DEEP]
VALUES: list[Any] = [
    *(None, -5, 0, 3, 0.5, 1e308, -1e308, 2**70, math.inf, math.nan, True, False),
    *("", "x", "\x1b[2J", "\ud800", "\0", "5", [], ["x"], [[]], {}, {"x": {"y": [-5]}}, DEEP),
]


@pytest.fixture
def sound(tmp_path: Path) -> dict[str, Any]:
    """A record as a run writes it, of a sweep of two arms with two seeds each."""
    for loss in ("mse", "cross_entropy"):
        for seed in range(2):
            folder = write_run(tmp_path / "sweep", loss, 0.1, seed, 0.9 + seed / 100)
    whole = {
        "error": None,
        "sweep_index": {"number": 4, "of": 4},
        "from_start": False,
        "launch": {"id": "a", "swept": ["loss", "seed"]},
    }
    entry: dict[str, Any] = json.loads((folder / "run.json").read_text()) | whole
    entry["metrics"] |= {"epochs": 3, "best_epoch": 2}
    now = "2026-03-01T12:00:00+00:00"
    entry["timing"] |= {"started": now, "latest": now, "resumed": 0, "stack": 4}
    entry["provenance"]["earlier"] = [{"git": None, "versions": {}, "hardware": None}]
    entry["config"]["watchers"] = ["progress"]
    entry["config"]["comparison"] |= {"sections": [], "outputs": []}
    return entry


@pytest.mark.parametrize(
    ("launch", "problem"),
    [
        ([1], r"launch is \[1\] instead of a mapping or null"),
        ({"id": 1}, r"launch\.id is 1 instead of a text"),
        ({"id": "a", "swept": 5}, r"launch\.swept is 5 instead of a list of texts"),
    ],
)
def test_a_launch_that_is_none_is_named(sound, launch, problem):
    assert find_problem(sound) is None
    assert re.fullmatch(f"one whose {problem}", find_problem(sound | {"launch": launch}) or "")


def mutants(entry: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """The record with each of its keys left out, and with each value exchanged for each other."""
    for path in paths(entry):
        yield f"without {path}", changed(entry, path, drop=True)
        for value in VALUES:
            yield f"{path} = {str(value)[:20]!r}", changed(entry, path, value)


def paths(node: Any, before: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    children = node.items() if isinstance(node, dict) else enumerate(node)
    for key, child in children:
        yield (*before, key)
        if isinstance(child, dict | list):
            yield from paths(child, (*before, key))


def changed(
    entry: dict[str, Any], path: tuple[Any, ...], value: Any = 0, drop: bool = False
) -> Any:
    mutant = copy.deepcopy(entry)
    node: Any = mutant
    for key in path[:-1]:
        node = node[key]
    if drop:
        del node[path[-1]]
    else:
        node[path[-1]] = value
    return mutant


def keep(folder: Path, entry: dict[str, Any]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "run.json").write_text(json.dumps(entry))
    return folder


def assert_told(comparison: Comparison) -> None:
    """Of each run it is said that it is left out, or it is in the tables."""
    runs = comparison.runs
    for run in runs.loc[runs["problem"] != "", "run"]:
        assert any(each.startswith(f"{run} is left out: ") for each in comparison.warnings)
    counted = runs["status"].isin(record.ENDED) & (runs["problem"] == "")
    assert comparison.cells["n"].sum() <= counted.sum()
    terminal(comparison)


@pytest.mark.long
def test_whatever_one_record_holds_it_is_refused_by_name_or_compared(tmp_path, sound):
    """Some 4,000 records, of which one in five is read."""
    read = {}
    for name, mutant in mutants(sound):
        path = keep(tmp_path / "one", mutant) / "run.json"
        problem = problem_of(path.parent)
        assert problem == "" or str(path) in problem, name
        if not problem:
            read[name] = mutant
    assert 400 < len(read) < 2_000
    for name in random.Random(0).sample(sorted(read), 150):
        assert_goes_on(tmp_path / "sweep", name, read[name])


def problem_of(folder: Path) -> str:
    try:
        record.read(folder)
    except ValueError as error:
        return str(error)
    return ""


def assert_goes_on(sweep: Path, name: str, mutant: dict[str, Any]) -> None:
    keep(sweep / "loss=cross_entropy,lr=0.1,seed=1", mutant)
    sweep_status(sweep).terminal()
    if "('measures', 0" in name:  # it may well declare another measure than the others
        with suppress(ValueError):
            assert_told(compare(sweep))
    else:
        assert_told(compare(sweep))


@pytest.mark.parametrize(
    ("key", "value", "got"),
    [
        ("metrics", {"val/accuracy": -5}, "metrics.val/accuracy is -5 instead of a share from 0"),
        ("metrics", {"test/nll": "x"}, 'metrics.test/nll is "x" instead of a finite number or'),
        ("metrics", [[]], "metrics is [[]] instead of a mapping"),
        ("provenance", None, "provenance is null instead of a mapping"),
        ("status", "a\nb", "JSON without a status"),
        ("layout", -1, "one whose layout is -1"),
    ],
)
def test_a_record_changed_by_hand_is_named_and_left_out(tmp_path, sound, key, value, got):
    keep(tmp_path / "sweep" / "odd", sound | {key: value})
    comparison = compare(tmp_path / "sweep")
    [told] = [each for each in comparison.warnings if each.startswith("odd is left out: ")]
    assert got in told
    assert any(each.startswith("1 of 5 runs left out") for each in comparison.warnings)
    assert comparison.cells["n"].tolist() == [2, 2]


@pytest.mark.parametrize(
    ("value", "got"),
    [
        ("Infinity", "Infinity is no finite number"),
        ("1e999", "1e999 is no finite number"),
        ("NaN", "NaN is no finite number"),
        ("9" * 99, "99999 is too large a number"),
        ('0, "seed": 1', '"seed" stands twice in one mapping'),
        ("[" * 60 + "]" * 60, "it is nested deeper than 50 levels"),
    ],
)
def test_json_that_is_not_strict_is_no_record(tmp_path, value, got):
    folder = write_run(tmp_path, "mse", 0.1, 0)
    path = folder / "run.json"
    path.write_text(path.read_text().replace('"seed": 0', f'"seed": {value}'))
    with pytest.raises(ValueError, match=re.escape(got)):
        record.read(folder)


@pytest.mark.parametrize(
    "content", ["[" * 100_000, r'{"a": "\ud800"}', r'{"a": "\u0000"}', b"\xff"]
)
def test_a_file_that_no_reader_survives_is_no_record(tmp_path, content):
    (tmp_path / "run.json").write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(ValueError, match=r"expected a run record in .*, got an unreadable file: "):
        record.read(tmp_path)


def test_a_text_that_spells_the_character_nul_is_a_sound_one(tmp_path):
    folder = write_run(tmp_path, "mse", 0.1, 0)
    entry = record.read(folder) | {"error": r"got '\u0000' in a name"}
    record.write(folder, entry)
    assert record.read(folder)["error"] == entry["error"]


def test_what_is_no_file_or_too_large_a_one_is_not_read(tmp_path):
    os.mkfifo(tmp_path / "run.json")  # whoever reads it waits for ever
    with pytest.raises(ValueError, match="got what is no regular file"):
        record.read(tmp_path)
    (tmp_path / "run.json").unlink()
    with (tmp_path / "run.json").open("wb") as file:
        file.truncate(2**40)  # and has no blocks
    with pytest.raises(ValueError, match="got a file of 1,099,511,627,776 bytes"):
        record.read(tmp_path)


def test_a_sweep_of_damaged_records_alone_says_so(tmp_path, sound):
    keep(tmp_path / "alone" / "odd", sound | {"metrics": {"val/accuracy": -5}})
    with pytest.raises(ValueError, match=r"expected at least one finished run in .*, got 1 unread"):
        compare(tmp_path / "alone")


def test_a_status_of_a_later_release_is_told_and_no_outcome(tmp_path, sound):
    keep(tmp_path / "sweep" / "later", sound | {"status": "pruned"})
    comparison = compare(tmp_path / "sweep")
    assert "1 run left out as pruned: later" in comparison.warnings
    assert comparison.cells["n"].tolist() == [2, 2]


def test_a_metric_called_as_a_column_does_not_take_its_place(tmp_path):
    write_run(tmp_path, "mse", 0.1, 0, metrics={"status": 0.5, "seed": 7, "arm": 3, "run": 1})
    row = compare(tmp_path).runs.iloc[0]
    assert (row["status"], row["seed"], row["arm"]) == ("finished", 0, "mse")


@pytest.mark.parametrize(
    "content",
    [
        "",
        "epoch,step,val/accuracy\n1.0,nan,0.5\n",
        "epoch,step,val/accuracy\n-1,100,0.5\n",
        "epoch,step,val/accuracy\n1.0,1e999,0.5\n",
        "epoch,step,val/accuracy\n1.0,100\n",
        "epoch,step,val/accuracy,arm\n1.0,100,0.5,3\n",
        "epoch,step,val/accuracy,step\n1.0,100,0.5,3\n",
        "epoch,step,val/accuracy\n1.0,100,half\n",
        "epoch,step,val/accuracy\n1.0,100,\0\n",
    ],
)
def test_damaged_curves_are_named_and_the_others_drawn(tmp_path, content):
    for seed in range(2):
        keep_curves(write_run(tmp_path, "mse", 0.1, seed), [0.5, 0.6])
    damaged = write_run(tmp_path, "mse", 0.1, 2)
    (damaged / "curves.csv").write_text(content)
    comparison = compare(tmp_path)
    [told] = [each for each in comparison.warnings if "curves.csv can't be used" in each]
    assert told.startswith(damaged.name)
    assert comparison.history["seed"].nunique() == 2


def test_values_that_no_axis_reaches_are_drawn_without_them(tmp_path):
    for seed, loss in enumerate((0.1, 1e308, -1e308)):
        metrics = {f"{split}/nll": loss for split in ("val", "test")}
        folder = write_run(tmp_path, "mse", 0.1, seed, metrics=metrics)
        keep_curves(folder, [0.5, math.inf, -1e308])
    assert (write(compare(tmp_path)) / "comparison.html").exists()
