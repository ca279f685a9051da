"""What a run leaves in its folder: each file once, and checkpoints as long as they are wanted."""

import os
import random
from pathlib import Path

import pytest
import torch

from runlab import atomic
from runlab.runs import record
from runlab.runs.checkpoint import AtomicCheckpointIO
from runlab.runs.lifecycle import is_done
from runlab.sweeps.summary import files_in
from runlab.train import train
from tests.compose import compose
from tests.runs.test_resume import STOP, Stop

FEW = ["callback=[checkpoint,curves,predictions]"]


@pytest.fixture
def run(tmp_path, tiny):
    """Trains with the overrides given, in a folder of that name."""

    def train_in(folder, *overrides):
        return train(compose(*tiny, *FEW, *overrides, folder=made(tmp_path / folder)))

    return train_in


def made(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    return folder


def files(folder: Path) -> set[str]:
    names = (str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    return {"events" if name.startswith("events.out.tfevents.") else name for name in names}


def test_a_run_leaves_each_file_once(run, tmp_path):
    run("run", "optimizer.lr=0.1")
    checkpoints = {"checkpoints/best.ckpt", "checkpoints/last.ckpt"}
    others = {".lock", "run.json", "curves.csv", "predictions.npz", "events"}
    assert files(tmp_path / "run") == checkpoints | others
    assert len([*(tmp_path / "run").glob("events*")]) == 1


def best_and_last(folder: Path) -> list[Path]:
    return [folder / "checkpoints" / f"{name}.ckpt" for name in ("best", "last")]


def test_the_best_checkpoint_is_another_name_of_the_last_one(run, tmp_path, monkeypatch):
    state = random.getstate()
    monkeypatch.setattr(random, "getstate", lambda: state)  # the type checker draws from it
    run("run", "trainer.max_epochs=1")
    best, last = best_and_last(tmp_path / "run")
    assert best.samefile(last)
    size = best.stat().st_size
    assert sum(size for path, size in files_in(tmp_path / "run") if path.suffix == ".ckpt") == size


def test_a_best_checkpoint_of_an_earlier_epoch_is_a_file_of_its_own(run, tmp_path):
    worse = ["callback.best.monitor=train/learning_rate", "++callback.best.mode=max"]
    run("run", *worse, "scheduler=cosine", "trainer.max_epochs=3")
    best, last = best_and_last(tmp_path / "run")
    assert not best.samefile(last)
    epochs = [torch.load(path, weights_only=True)["epoch"] for path in (best, last)]
    assert epochs == [0, 2]


def saved(folder: Path) -> dict[str, Path]:
    return {path.stem: path for path in folder.glob("*.ckpt")}


def a_checkpoint(step: int, **others: object) -> dict:
    weights = {"weight": torch.full((3,), float(step))}
    return {"state_dict": weights, "global_step": step, "runlab": {"seconds": step}, **others}


def test_checkpoints_of_one_moment_share_a_file_until_one_is_saved_again(tmp_path):
    io = AtomicCheckpointIO()
    for step, name in ((1, "best"), (1, "last"), (2, "last")):
        io.save_checkpoint(a_checkpoint(step), tmp_path / f"{name}.ckpt")
        if (step, name) == (1, "last"):
            assert saved(tmp_path)["best"].samefile(saved(tmp_path)["last"])
    steps = {name: torch.load(path)["global_step"] for name, path in saved(tmp_path).items()}
    assert steps == {"best": 1, "last": 2}


@pytest.mark.parametrize(
    "other",
    [
        {"state_dict": {"weight": torch.zeros(3)}},
        {"loops": {"batch": 1}},
        {"callbacks": {"Curves": {"rows": [1]}}},
        {"optimizer_states": [{}]},
    ],
)
def test_checkpoints_that_differ_stay_two_files(tmp_path, other):
    io = AtomicCheckpointIO()
    io.save_checkpoint(a_checkpoint(1), tmp_path / "best.ckpt")
    io.save_checkpoint(a_checkpoint(1, **other), tmp_path / "last.ckpt")
    assert not saved(tmp_path)["best"].samefile(saved(tmp_path)["last"])


def test_without_links_a_checkpoint_stays_a_file_of_its_own(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "link", refuse)
    one, two = tmp_path / "one", tmp_path / "two"
    atomic.replace(one, b"1")
    atomic.replace(two, b"2")
    atomic.link(one, two)
    assert (one.read_bytes(), two.read_bytes()) == (b"1", b"2")
    assert len([*tmp_path.iterdir()]) == 2


def refuse(*_: object) -> None:
    raise PermissionError("no links here")


def test_a_run_that_keeps_no_checkpoints_removes_them_once_it_was_tested(run, tmp_path, tiny):
    kept = run("kept")
    removed = run("removed", "keep_checkpoints=false")
    assert removed["metrics"] == kept["metrics"]
    assert removed["fingerprint"] == kept["fingerprint"]
    assert not (tmp_path / "removed" / "checkpoints").exists()
    assert record.CHECKPOINTS_REMOVED in record.read(tmp_path / "removed")
    assert record.CHECKPOINTS_REMOVED not in record.read(tmp_path / "kept")
    best, _ = best_and_last(tmp_path / "removed")
    assert "keep_checkpoints=false); train it again" in record.why_no_checkpoint(best)
    assert is_done(compose(*tiny, *FEW, folder=tmp_path / "removed")), "in either way"


def test_a_run_that_keeps_no_checkpoints_goes_on_from_them_all_the_same(run, tmp_path):
    Stop.at("epoch end", 1)
    with pytest.raises(SystemExit):
        run("run", STOP, "keep_checkpoints=false")
    assert all(path.exists() for path in best_and_last(tmp_path / "run"))
    entry = run("run", STOP, "keep_checkpoints=false")
    assert entry["timing"]["resumed"] == 1
    assert not (tmp_path / "run" / "checkpoints").exists()
    assert record.CHECKPOINTS_REMOVED in entry
