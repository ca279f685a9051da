"""Multiruns as a user launches them, in processes of their own."""

import csv
import re

import pytest

from runlab.runs import record
from tests.loggers.test_hparams import hparams
from tests.sweeps.failing import AT_A_RATE_OF_9

TRAIN, COMPARE = "scripts/train.py", "scripts/compare.py"


@pytest.fixture(scope="module")
def sweep(tmp_path_factory, commands, tiny):
    folder = tmp_path_factory.mktemp("sweep")
    grid = ["loss=mse,cross_entropy", "optimizer.lr=0.1,0.5", "name=grid"]
    return folder, commands.run(folder, TRAIN, "-m", *tiny, *grid)


def test_every_run_is_in_a_folder_of_its_readable_name(sweep):
    folder, done = sweep
    assert done.returncode == 0, done.stderr
    runs = {path.parent.name for path in (folder / "logs" / "grid").glob("*/run.json")}
    assert len(runs) == 4
    assert all(name.startswith(("loss=mse,lr=", "loss=cross_entropy,lr=")) for name in runs)


def test_a_line_for_each_run_tells_the_sweeps_progress(sweep):
    lines = [line for line in sweep[1].stdout.splitlines() if line.startswith("[")]
    assert sorted(line[:5] for line in lines) == [f"[{n}/4]" for n in range(1, 5)]
    assert all("val " in line and "test " in line for line in lines)


def test_nothing_but_the_result_is_printed_where_there_is_no_terminal(sweep):
    assert sweep[1].stderr == ""


def test_the_comparison_is_there_at_the_end(sweep):
    folder, done = sweep
    assert "Too few seeds to say whether" in done.stdout
    files = {path.name for path in (folder / "logs" / "grid" / "comparison").iterdir()}
    assert {"comparison.md", "cells.csv", "runs.csv", "sensitivity.png", "sensitivity.svg"} <= files


@pytest.mark.long
def test_a_sweep_is_compared_by_the_arms_that_it_names(tmp_path, commands, tiny):
    keys = ["comparison.arm=model", "model=linear,mlp", "optimizer.lr=0.05,0.2"]
    done = commands.run(tmp_path, TRAIN, "-m", *tiny, *keys, "name=models")
    assert done.returncode == 0, done.stderr
    sweep = tmp_path / "logs" / "models"
    cells = [(model, rate) for model in ("linear", "mlp") for rate in (0.05, 0.2)]
    names = {f"model={model},lr={rate},seed=0" for model, rate in cells}
    found = {path.parent.name.partition(",batch_size")[0] for path in sweep.glob("*/run.json")}
    assert found == names
    assert "Too few seeds to say whether linear or mlp is better" in done.stdout
    with (sweep / "comparison" / "arms.csv").open(newline="") as file:
        assert [row["setting/model"] for row in csv.DictReader(file)] == ["linear", "mlp"]
    page = (sweep / "comparison" / "comparison.html").read_text()
    assert "4 runs of 2 arms" in page
    columns, rows = hparams(sweep)
    assert {each.name for each in columns.hparam_infos if each.differs} == {"model", "lr"}
    assert {row.hparams["model"].string_value for row in rows.values()} == {"linear", "mlp"}
    assert (tmp_path / "logs" / "models.aggregates" / "linear").is_dir()
    again = commands.run(tmp_path, COMPARE, "logs/models", "--arm", "null", "--rate", "null")
    assert again.returncode == 0, again.stderr
    assert "model=linear, lr=0.05" in again.stdout


@pytest.mark.long
@pytest.mark.parametrize(("rate", "grid"), [("module.lr", ["module.lr=0.05,0.1"]), ("null", [])])
def test_modules_of_lightnings_own_kind_are_compared(tmp_path, commands, tiny, rate, grid):
    folder = tmp_path / "conf" / "module"
    folder.mkdir(parents=True)
    for choice, kind in (("a", "Shallow"), ("b", "Deep")):
        (folder / f"{choice}.yaml").write_text(f"_target_: tests.level_one.{kind}\nlr: 0.1\n")
    options = [*(each for each in tiny if "steps_per" not in each), *grid, "callback=[checkpoint]",
               "callback.best.monitor=val/loss", f"hydra.searchpath=[file://{folder.parent}]",
               "comparison.arm=module", f"comparison.rate={rate}", "name=modules"]  # fmt: skip
    done = commands.run(tmp_path, TRAIN, "-m", *options, "module=a,b")
    assert done.returncode == 0, done.stderr
    assert "Too few seeds to say whether a or b is better" in done.stdout
    assert ("* chosen learning rate" in done.stdout) == bool(grid)
    found = [path.parent.name for path in (tmp_path / "logs" / "modules").glob("*/run.json")]
    assert len(found) == (4 if grid else 2)
    assert all(re.match(r"module=[ab],(lr=[\d.]+,)?seed=0,", name) for name in found)
    assert any("lr=" in name for name in found) == bool(grid)


@pytest.mark.long
def test_the_launcher_does_not_change_a_runs_result(sweep, commands, tiny):
    folder, _ = sweep
    alone = [*tiny, "loss=mse,cross_entropy", "optimizer.lr=0.5", "name=processes"]
    alone = [*alone, "hydra/launcher=processes"]
    done = commands.run(folder, TRAIN, "-m", *alone, fresh_workers=True)
    assert done.returncode == 0, done.stderr
    runs = sorted((folder / "logs" / "processes").glob("*/run.json"))
    assert len(runs) == 2
    for run in runs:
        other = folder / "logs" / "grid" / run.parent.name
        assert record.read(run.parent)["metrics"] == record.read(other)["metrics"]


@pytest.mark.long
def test_a_failing_run_is_named_the_others_go_on_and_the_exit_code_tells(sweep, commands, tiny):
    folder, _ = sweep
    done = commands.run(
        folder, TRAIN, "-m", *tiny, AT_A_RATE_OF_9, "optimizer.lr=9,0.1", "name=partly"
    )
    assert done.returncode == 1
    [line] = [line for line in done.stdout.splitlines() if ": failed: " in line]
    assert line.startswith("loss=cross_entropy,lr=9,seed=0")
    assert line.endswith("expected another rate, got 9")
    assert "expected another rate, got 9" in done.stderr
    assert "Traceback" not in done.stderr
    statuses = [
        record.read(path.parent)["status"]
        for path in sorted((folder / "logs" / "partly").glob("*/run.json"))
    ]
    assert sorted(statuses) == ["failed", "finished"]
    assert (folder / "logs" / "partly" / "comparison" / "comparison.md").exists()


@pytest.mark.long
@pytest.mark.parametrize("launcher", ["basic", "processes"])
def test_fail_fast_stops_a_sweep_at_its_first_failure(sweep, commands, tiny, launcher):
    folder, _ = sweep
    grid = [
        AT_A_RATE_OF_9,
        "optimizer.lr=9,0.1,0.2,0.3,0.4",
        f"name=fast_{launcher}",
        "fail_fast=true",
    ]
    done = commands.run(folder, TRAIN, "-m", *tiny, *grid, f"hydra/launcher={launcher}")
    assert done.returncode == 1
    assert "got 9 (fail_fast)" in done.stderr
    assert "Traceback" not in done.stderr
    left = [path.name for path in (folder / "logs" / f"fast_{launcher}").glob("loss=*")]
    assert not any("lr=0.4" in name for name in left)


@pytest.mark.long
def test_compare_rebuilds_the_comparison_alone(sweep, commands):
    folder, done = sweep
    (folder / "logs" / "grid" / "comparison" / "comparison.md").unlink()
    again = commands.run(folder, COMPARE, "logs/grid")
    assert again.returncode == 0, again.stderr
    assert again.stdout.strip() in done.stdout
    assert (folder / "logs" / "grid" / "comparison" / "comparison.md").exists()


def test_compare_says_what_is_wrong_with_a_folder(commands, tmp_path):
    done = commands.run(tmp_path, COMPARE, "nowhere")
    assert done.returncode == 1
    assert "nowhere" in done.stderr
    assert "Traceback" not in done.stderr
