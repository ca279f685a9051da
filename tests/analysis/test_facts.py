"""What a page says was trained, and the commands that train it again, as shells read them."""

import json
import shlex
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from runlab.analysis.compare import compare
from runlab.analysis.facts import find_commands, find_facts
from runlab.analysis.headlines import headline
from runlab.analysis.palette import arm_title, known_styles
from runlab.config.axes import Axes
from runlab.sweeps.summary import read_sweeps
from tests.analysis.synthetic import ACCURACY, ARM_STYLES, write_run


def record(*overrides: str, launch: str | None = "a", **changes: Any) -> dict[str, Any]:
    return {
        "launch": launch and {"id": launch, "swept": []},
        "overrides": list(overrides),
        "parameters": 1234,
        "choices": {"data": "mnist", "model": "mlp", "loss": "mse"},
        "metrics": {"val/samples": 5, "test/samples": 10_000},
        "config": {
            "data": {"_target_": "some.MNIST", "train_size": 55_000, "batch_size": 64},
            "model": {"_target_": "some.MLP"},
            "trainer": {"max_epochs": 3},
        },
        "timing": {"started": "2026-11-28T21:14:44+00:00"},
        "provenance": {"hardware": {"cpu": "Chip", "cores": 2, "gpu": None}},
    } | changes


def test_facts_name_data_network_size_day_and_machine() -> None:
    assert find_facts([record(), record()], Axes()) == {
        "data": "MNIST, 55,000 training, 5 validation, 10,000 test samples",
        "network": "MLP, 1,234 parameters",
        "batch": "64",
        "epochs": "3",
        "trained": "28 Nov 2026",
        "on": "Chip, 2 cores",
    }


def test_the_day_is_the_one_on_the_clock_here_as_in_the_index(tmp_path, monkeypatch) -> None:
    entry = record(timing={"started": "2026-11-28T21:14:44+00:00", "latest": "2026-11-29T05:00:00"})
    shown = {}
    run = write_run(tmp_path / "logs" / "first", "mse", 0.1, 0)
    (run / "run.json").write_text(
        json.dumps(json.loads((run / "run.json").read_text()) | {"timing": entry["timing"]})
    )
    for zone in ("UTC", "Asia/Tokyo", "America/Los_Angeles"):
        monkeypatch.setenv("TZ", zone)
        time.tzset()
        [sweep] = read_sweeps(tmp_path / "logs")
        shown[zone] = find_facts([entry], Axes())["trained"], sweep.day
    monkeypatch.undo()
    time.tzset()
    assert shown == {
        "UTC": ("28 Nov 2026 to 29 Nov 2026", "2026-11-29 05:00"),
        "Asia/Tokyo": ("29 Nov 2026", "2026-11-29 14:00"),
        "America/Los_Angeles": ("28 Nov 2026", "2026-11-28 21:00"),
    }


def test_what_differs_is_said_to_vary_and_what_is_unknown_is_left_out() -> None:
    facts = find_facts([record(), record(choices={"data": "digits", "model": "mlp"})], Axes())
    assert facts["data"] == "varies: MNIST, digits"
    assert find_facts([{}], Axes()) == {}


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_the_command_of_a_grid_is_one_that_shells_take_apart_again(shell: str) -> None:
    runs = [
        record(f"seed={seed}", f"model.widths={widths}", "name=~a $b", "data_dir='/a b'")
        for seed in (10, 9)
        for widths in ("[8]", "[16]")
    ]
    [command] = find_commands(runs)
    words = ["name=~a $b", "data_dir='/a b'", "seed=9,10", "model.widths=[16],[8]"]
    assert shlex.split(command)[3:] == words
    if shutil.which(shell) is None:
        assert shell == "zsh", "bash is everywhere"
        return
    printed = subprocess.run(
        [shell, "-c", f"printf '%s\\n' {command}"], capture_output=True, text=True, check=True
    )
    assert printed.stdout.splitlines()[3:] == words


def test_there_is_no_command_for_what_no_grid_made() -> None:
    assert find_commands([record("lr=1", "seed=0"), record("lr=2", "seed=1")]) == []
    assert find_commands([record(launch=None, seed=seed) for seed in range(4)]) == []
    assert find_commands([record("seed=1", launch=None)]) == ["losslab train seed=1"]


def test_headlines_call_arms_by_their_titles() -> None:
    known = known_styles({"mse": ARM_STYLES["mse"] | {"title": "squared error"}})
    row = pd.Series({"arm": "cross_entropy", "other": "mse", "verdict": "other better"})
    row = pd.concat([row, pd.Series({"difference": -0.42, "low": -0.5, "high": -0.3})])
    said = headline(row, ACCURACY, 0.2, known)
    assert said == "Squared error beats cross_entropy by 0.42 points"
    assert headline(row, ACCURACY, 0.6, known).endswith("points, too little to matter")
    row["verdict"] = "undecided"
    assert (
        headline(row, ACCURACY, 0.2, known) == "Undecided between cross_entropy and squared error"
    )
    assert arm_title("mse, model=cnn", known) == "squared error, model=cnn"


def test_a_comparison_reads_the_title_that_runs_declare(tmp_path: Path) -> None:
    styles = ARM_STYLES | {"mse": ARM_STYLES["mse"] | {"title": "squared error"}}
    for seed in range(2):
        for loss in ("cross_entropy", "mse"):
            folder = write_run(tmp_path, loss, 0.1, seed, comparison={"arm_styles": styles})
            entry = json.loads((folder / "run.json").read_text())
            (folder / "run.json").write_text(json.dumps(entry | {"parameters": 7}))
    comparison = compare(tmp_path)
    assert [card.headline for card in comparison.cards] == [
        "Too few seeds to say whether cross_entropy or squared error is better"
    ]
    assert comparison.facts["network"] == "MLP, 7 parameters"
