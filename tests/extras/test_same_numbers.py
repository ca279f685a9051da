import json
import runpy
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from runlab.extras.same_numbers.same_numbers import compare_numbers
from runlab.train import train
from tests.compose import ROOT, compose

SCRIPT = str(ROOT / "scripts" / "same_numbers.py")
CURVES = "step,val/loss,val/nll\n1,0.5,\n2,nan,inf\n"
METRICS = {"test/accuracy": 0.5, "test/samples": 10, "test/nll": None}


def write_run(
    sweep: Path,
    name: str = "loss=mse,lr=0.1,seed=0",
    status: str = "finished",
    metrics: dict[str, float | None] | None = None,
    curves: str = CURVES,
    predicted: tuple[int, ...] = (1, 2, 3),
    confidence: tuple[float, ...] = (0.5, 0.25, 1.0),
    weights: tuple[float, ...] = (1.0, float("nan"), -2.5),
) -> Path:
    """A run's files, without any training and without a layout that a record could be read by."""
    run = sweep / name
    (run / "checkpoints").mkdir(parents=True)
    entry = {"status": status, "metrics": METRICS if metrics is None else metrics}
    (run / "run.json").write_text(json.dumps(entry))
    (run / "curves.csv").write_text(curves)
    np.savez(
        run / "predictions.npz",
        predicted=np.array(predicted, np.uint8), confidence=np.array(confidence, np.float32),
    )  # fmt: skip
    for file in ("best.ckpt", "last.ckpt"):
        torch.save({"state_dict": {"weight": torch.tensor(weights)}}, run / "checkpoints" / file)
    return run


@pytest.fixture
def before(tmp_path):
    write_run(tmp_path / "before")
    return tmp_path / "before"


def differing(result) -> dict[str, tuple[int, float]]:
    return {
        f"{each.kind}: {each.name}": (each.differ, each.largest)
        for each in result.differences
        if each.differ
    }


def test_equal_sweeps_are_the_same_with_their_missing_and_infinite_numbers(before, tmp_path):
    write_run(tmp_path / "after")
    result = compare_numbers(before, tmp_path / "after")
    assert result.is_same
    assert differing(result) == {}
    assert sum(each.compared for each in result.differences) == 1 + 3 + 6 + 6 + 6
    assert result.terminal().splitlines() == [
        "what                     values compared  differ  largest difference",
        "--------------------------------------------------------------------",
        "status                                 1       0                   0",
        "metrics                                3       0                   0",
        "curves                                 6       0                   0",
        "predictions: predicted                 3       0                   0",
        "predictions: confidence                3       0                   0",
        "weights, best                          3       0                   0",
        "weights, last                          3       0                   0",
        "",
        "the same: 1 run, all 22 values equal, bit for bit",
    ]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"status": "diverged"}, {"status: status": (1, np.inf)}),
        ({"metrics": METRICS | {"test/samples": 12}}, {"metrics: test/samples": (1, 2.0)}),
        ({"metrics": METRICS | {"test/accuracy": None}}, {"metrics: test/accuracy": (1, np.inf)}),
        ({"curves": CURVES.replace("0.5", "0.75")}, {"curves: val/loss": (1, 0.25)}),
        ({"curves": CURVES.replace("inf", "7")}, {"curves: val/nll": (1, np.inf)}),
        ({"confidence": (0.5, 0.25, 0.5)}, {"predictions: confidence: confidence": (1, 0.5)}),
        (
            {"weights": (1.0, float("nan"), -2.0)},
            {"weights, best: weight": (1, 0.5), "weights, last: weight": (1, 0.5)},
        ),
        (
            {"weights": (1.0, float("nan"))},
            {"weights, best: weight": (3, np.inf), "weights, last: weight": (3, np.inf)},
        ),
    ],
)  # fmt: skip
def test_each_number_that_differs_is_counted_and_measured(before, tmp_path, changes, expected):
    write_run(tmp_path / "after", **changes)
    result = compare_numbers(before, tmp_path / "after")
    assert not result.is_same
    assert differing(result) == expected


def test_the_largest_difference_is_named_with_its_run(before, tmp_path):
    write_run(before, "other")
    write_run(tmp_path / "after", metrics=METRICS | {"test/accuracy": 0.625})
    write_run(tmp_path / "after", "other", metrics=METRICS | {"test/samples": 13})
    shown = compare_numbers(before, tmp_path / "after").terminal()
    assert "metrics                                6       2                   3" in shown
    assert "- metrics: most in other: test/samples" in shown
    assert "not the same: 2 runs compared, 2 of 44 values differ" in shown


def test_a_zeros_sign_is_one_of_its_bits(before, tmp_path):
    write_run(before, "zero", weights=(0.0,))
    write_run(tmp_path / "after")
    write_run(tmp_path / "after", "zero", weights=(-0.0,))
    assert not compare_numbers(before, tmp_path / "after").is_same
    assert compare_numbers(before, tmp_path / "after", tolerance=1e-12).is_same


def test_within_a_tolerance_numbers_count_as_equal_and_predictions_are_told(before, tmp_path):
    write_run(
        tmp_path / "after", predicted=(1, 2, 4), confidence=(0.5, 0.25, 0.9999),
        metrics=METRICS | {"test/accuracy": 0.5005},
    )  # fmt: skip
    result = compare_numbers(before, tmp_path / "after", tolerance=1e-3)
    assert result.is_same
    shown = " ".join(result.terminal().split())
    assert (
        "all 22 values within 0.001; a tolerance allows that 1 of the predictions differ" in shown
    )
    strict = compare_numbers(before, tmp_path / "after", tolerance=2e-4)
    assert list(differing(strict)) == [
        "metrics: test/accuracy", "predictions: predicted: predicted",
    ]  # fmt: skip
    assert "1 of 22 values differ by more than 0.0002" in " ".join(strict.terminal().split())
    assert not compare_numbers(before, tmp_path / "after").is_same


def test_absent_predictions_differ_whatever_the_tolerance(before, tmp_path):
    write_run(tmp_path / "after", predicted=(1, 2))
    assert not compare_numbers(before, tmp_path / "after", tolerance=1.0).is_same


def test_old_names_of_runs_metrics_and_columns_can_be_exchanged(before, tmp_path):
    write_run(
        before, "loss=mse_outputs", metrics={"val/images": 5},
        curves="step,val/images\n1,5\n",
    )  # fmt: skip
    write_run(tmp_path / "after")
    write_run(
        tmp_path / "after", "loss=mse_logits", metrics={"val/samples": 5},
        curves="step,val/samples\n1,5\n",
    )  # fmt: skip
    renames = [("mse_outputs", "mse_logits"), ("images", "samples")]
    assert compare_numbers(before, tmp_path / "after", renames=renames).is_same
    unrenamed = compare_numbers(before, tmp_path / "after", renames=renames[:1])
    assert list(differing(unrenamed)) == [
        "metrics: val/images, in the first sweep alone",
        "metrics: val/samples, in the second sweep alone",
        "curves: val/images, in the first sweep alone",
        "curves: val/samples, in the second sweep alone",
    ]
    with pytest.raises(ValueError, match=r"got two that become loss=mse,lr=0\.1"):
        compare_numbers(before, before, renames=[("loss=mse_outputs", "loss=mse,lr=0.1,seed=0")])


def test_missing_runs_and_files_are_named(before, tmp_path):
    write_run(before, "first")
    run = write_run(tmp_path / "after")
    write_run(tmp_path / "after", "second")
    (run / "predictions.npz").unlink()
    result = compare_numbers(before, tmp_path / "after")
    assert result.problems == [f"only in {before}: first", f"only in {tmp_path / 'after'}: second"]
    assert differing(result) == {
        f"predictions: {name}: {name}, in the first sweep alone": (3, np.inf)
        for name in ("predicted", "confidence")
    }


@pytest.mark.parametrize(
    "file", ["run.json", "curves.csv", "predictions.npz", "checkpoints/best.ckpt"]
)
def test_a_damaged_file_is_named_and_the_others_are_compared(before, tmp_path, file):
    run = write_run(tmp_path / "after")
    (run / file).write_bytes(b"\x80damaged")
    result = compare_numbers(before, tmp_path / "after")
    assert not result.is_same
    assert all(f"{run / file} can't be compared" in problem for problem in result.problems)
    assert len(result.problems) == (2 if file == "run.json" else 1)  # status, and metrics
    assert differing(result) == {}


def call(monkeypatch, *arguments: object) -> object:
    monkeypatch.setattr(sys, "argv", [SCRIPT, *map(str, arguments)])
    with pytest.raises(SystemExit) as raised:
        runpy.run_path(SCRIPT, run_name="__main__")
    return raised.value.code


def test_the_script_compares_a_trained_run_with_its_copy(tmp_path, tiny, monkeypatch, capsys):
    sweep, copy = tmp_path / "sweep", tmp_path / "copy"
    run = sweep / "loss=mse"
    run.mkdir(parents=True)
    train(compose(*tiny, "model.widths=[4]", "trainer.max_epochs=1", "logger=none", folder=run))
    shutil.copytree(sweep, copy)
    assert not call(monkeypatch, sweep, copy)
    out = capsys.readouterr().out
    assert "the same: 1 run, all " in out
    assert [line.split("  ")[0] for line in out.splitlines()[2:10]] == [
        "status", "metrics", "curves", "predictions: label", "predictions: predicted",
        "predictions: confidence", "weights, best", "weights, last",
    ]  # fmt: skip
    entry = json.loads((copy / "loss=mse" / "run.json").read_text())
    entry["metrics"]["test/nll"] += 1e-6
    (copy / "loss=mse" / "run.json").write_text(json.dumps(entry))
    assert call(monkeypatch, sweep, copy) == 1
    assert "- metrics: most in loss=mse: test/nll" in capsys.readouterr().out
    assert not call(monkeypatch, sweep, copy, "--tolerance", "1e-5")
    (copy / "loss=mse").rename(copy / "loss=other")
    assert not call(monkeypatch, sweep, copy, "--tolerance", "1e-5", "--rename", "mse=other")


def test_what_the_script_cannot_compare_is_one_sentence(before, tmp_path, monkeypatch, capsys):
    assert "which is not a folder" in str(call(monkeypatch, before, tmp_path / "nowhere"))
    assert "which holds sweeps: name one" in str(call(monkeypatch, tmp_path, before))
    assert "at least 0, got -1" in str(call(monkeypatch, before, before, "--tolerance", "-1"))
    assert call(monkeypatch, before, before, "--rename", "mse") == 2
    assert "expected OLD=NEW, got 'mse'" in capsys.readouterr().err
