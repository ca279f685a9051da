import runpy
import sys
from pathlib import Path

import pytest

from runlab.extras.reproduce import Reproduction, reproduce
from runlab.runs import record
from runlab.train import train
from tests.compose import ROOT, compose
from tests.idx import write_idx

SCRIPT = str(ROOT / "scripts" / "reproduce.py")


@pytest.fixture
def trained(tmp_path, tiny):
    def train_in(name: str, *overrides: str) -> Path:
        folder = tmp_path / "first" / name
        folder.mkdir(parents=True)
        train(compose(*tiny, *overrides, folder=folder))
        return folder

    return train_in


@pytest.mark.parametrize("overrides", [[], ["model.widths=[8]", "logger=[tensorboard,csv]"]])
def test_a_run_comes_out_the_same(trained, overrides):
    run = trained("run", *overrides)
    reproduction = reproduce(run)
    assert set(reproduction.drift) == set(record.read(run)["metrics"])
    assert set(reproduction.drift.values()) == {0.0}
    assert reproduction.changes_since == []
    assert "all 15 metrics equal, bit for bit" in " ".join(reproduction.terminal().split())


def test_the_new_run_is_whole_and_the_old_one_as_it_was(trained, tmp_path):
    run = trained("run")
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    folder = reproduce(run).folder
    assert folder == tmp_path / "first-reproduced" / "run"
    assert (folder / "checkpoints" / "best.ckpt").exists()
    assert list(folder.glob("events.out.tfevents.*"))
    assert record.read(folder)["fingerprint"] == record.read(run)["fingerprint"]
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before
    assert reproduce(run).folder == tmp_path / "first-reproduced-2" / "run"


def test_a_diverged_run_is_reproduced_too(trained):
    reproduction = reproduce(trained("run", "loss=mse_logits", "optimizer.lr=1e6"))
    assert reproduction.now["status"] == "diverged"
    assert reproduction.largest_drift() == 0


def test_drift_and_what_changed_are_shown(trained):
    run = trained("run")
    entry = record.read(run)
    entry["metrics"]["test/nll"] += 0.25
    entry["metrics"]["test/ece"] = None
    entry["provenance"]["versions"]["torch"] = "1.13.1"
    record.write(run, entry)
    reproduction = reproduce(run)
    assert reproduction.drift["test/nll"] == pytest.approx(-0.25)
    assert reproduction.largest_drift() == float("inf")
    shown = reproduction.terminal()
    assert "not the same: finished then, finished now" in shown
    assert "changed since: versions.torch: 1.13.1 ->" in shown


def test_a_run_of_a_stack_is_said_to_have_been_one(trained):
    run = trained("run")
    entry = record.read(run)
    entry["metrics"]["test/nll"] += 1e-6
    entry["timing"]["stack"] = 6
    record.write(run, entry)
    shown = " ".join(reproduce(run).terminal().split())
    assert "changed since: stack: 6 -> 1; it was one of a stack of 6, which rounds" in shown


def test_what_cannot_be_reproduced_is_said(trained, tmp_path):
    with pytest.raises(ValueError, match=r"expected a run record at .*nowhere"):
        reproduce(tmp_path / "nowhere")
    run = trained("run")
    with pytest.raises(ValueError, match="expected a folder without a run"):
        reproduce(run, folder=run)
    write_idx(tmp_path / "other", seed=1)
    with pytest.raises(ValueError, match=r"expected the run's data .*--data-dir"):
        reproduce(run, data_dir=tmp_path / "other")
    record.write(run, record.read(run) | {"status": "interrupted"})
    with pytest.raises(ValueError, match=r"expected a run that has ended in .*interrupted"):
        reproduce(run)
    assert not (tmp_path / "first-reproduced").exists()


def test_without_metrics_nothing_has_drifted():
    assert Reproduction(Path(), {"metrics": {}}, {"metrics": {}}).largest_drift() == 0


def test_the_scripts_exit_code_tells(trained, monkeypatch, capsys):
    run = trained("run")

    def code(*arguments: str) -> object:
        monkeypatch.setattr(sys, "argv", [SCRIPT, str(run), *arguments])
        with pytest.raises(SystemExit) as raised:
            runpy.run_path(SCRIPT, run_name="__main__")
        return raised.value.code

    assert not code()
    assert "bit for bit" in " ".join(capsys.readouterr().out.split())
    entry = record.read(run)
    entry["metrics"]["test/nll"] += 0.25
    record.write(run, entry)
    assert code() == 1
    assert not code("--tolerance", "0.3")
    assert "expected a folder without a run" in str(code("--folder", str(run)))
