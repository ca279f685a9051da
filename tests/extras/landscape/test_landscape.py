import json
import runpy
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from runlab.analysis.compare import compare
from runlab.analysis.rendering import render
from runlab.extras.landscape.choice import choose
from runlab.extras.landscape.figure import landscape_figure
from runlab.extras.landscape.landscape import compute_landscape
from runlab.extras.landscape.trajectory import (
    flatten_weights,
    retrain,
    snapshot_steps,
    without_output,
)
from runlab.extras.landscape.write import caption, write
from runlab.runs import record
from runlab.train import train
from tests.attacks import CALLED, RESOLVED, SECRET, attacks, nested
from tests.compose import ROOT, compose
from tests.idx import write_idx

SCRIPT = str(ROOT / "scripts" / "landscape.py")
FILES = ["landscape.csv", "landscape.json", "landscape.png", "landscape.svg", "landscape_paths.csv"]


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module", autouse=True)
def _one_core():
    """Several test processes share the cores."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("runlab.extras.landscape.loss_surface.os.cpu_count", lambda: 1)
        yield


@pytest.fixture(scope="module")
def sweep(tmp_path_factory, tiny):
    folder = tmp_path_factory.mktemp("logs") / "sweep"
    for loss, rate in (("cross_entropy", 0.1), ("mse", 0.5)):
        run = folder / f"loss={loss}"
        run.mkdir(parents=True)
        options = [f"loss={loss}", f"optimizer.lr={rate}", "model.widths=[8]", "logger=none"]
        train(compose(*tiny, *options, folder=run))
    return folder


@pytest.fixture(scope="module")
def drawn(sweep):
    before = contents(sweep)
    result = compute_landscape(sweep, points=7, samples=50)
    assert contents(sweep) == before
    return result


@pytest.mark.long
def test_a_retrained_run_ends_at_its_checkpoint_bit_for_bit(sweep):
    threads = torch.get_num_threads()
    for run in choose(compare(sweep)):
        trajectory = retrain(run, run.config)
        assert trajectory.drift == 0.0
        assert trajectory.steps == list(range(21))  # 2 epochs of 10 steps
        saved = torch.load(run.folder / "checkpoints" / "last.ckpt", weights_only=True)
        weights = [v.flatten() for k, v in saved["state_dict"].items() if k.startswith("network.")]
        assert torch.equal(trajectory.weights[-1], torch.cat(weights))
        assert torch.equal(trajectory.weights[-1], flatten_weights(trajectory.network))
        assert not torch.equal(trajectory.weights[0], trajectory.weights[1])
    assert torch.get_num_threads() == threads


def test_start_and_ends_are_on_the_plane_and_their_losses_the_true_ones(drawn):
    for each in drawn.arms:
        anchors = each.path.iloc[[0, -1]]
        assert anchors["off_plane"].max() < 1e-12
        assert (each.path["off_plane"].iloc[1:-1] > 1e-3).all()
        np.testing.assert_allclose(anchors["loss"], anchors["projected_loss"], rtol=1e-6)
        assert each.path["loss"].iloc[-1] < each.path["loss"].iloc[0]
        assert 0 < each.share_in_plane < 1
        assert drawn.a[0] < each.path["a"].min() < each.path["a"].max() < drawn.a[-1]
        assert drawn.b[0] < each.path["b"].min() < each.path["b"].max() < drawn.b[-1]
    assert drawn.arms[0].end[1] == pytest.approx(0, abs=1e-12)
    assert drawn.arms[1].end[1] > 0
    assert drawn.a[1] - drawn.a[0] == pytest.approx(drawn.b[1] - drawn.b[0])


def test_the_gradient_points_where_the_surface_falls(sweep, drawn):
    for each in drawn.arms:
        step = drawn.a[1] - drawn.a[0]
        row, column = (int(np.abs(axis).argmin()) for axis in (drawn.b, drawn.a))
        there = each.surface[row - 1 : row + 2, column - 1 : column + 2]
        falls = np.array([there[1, 0] - there[1, 2], there[0, 1] - there[2, 1]]) / (2 * step)
        cosine = (
            falls
            @ each.gradient_in_plane
            / np.linalg.norm(falls)
            / np.linalg.norm(each.gradient_in_plane)
        )
        assert cosine > 0.7  # the grid is coarse


def test_all_files_are_written(sweep, drawn):
    runs = contents(sweep / "loss=mse") | contents(sweep / "loss=cross_entropy")
    folder = write(drawn)
    assert folder == sweep / "comparison"
    assert sorted(path.name for path in folder.iterdir()) == FILES
    assert contents(sweep / "loss=mse") | contents(sweep / "loss=cross_entropy") == runs
    summary = json.loads((folder / "landscape.json").read_text())
    assert summary["runs"] == ["loss=cross_entropy", "loss=mse"]
    assert summary["arms"] == ["cross_entropy", "mse"]
    records = [json.loads((sweep / run / "run.json").read_text()) for run in summary["runs"]]
    assert summary["fingerprints"] == [record["fingerprint"] for record in records]
    assert "(seed 0, n = 1): 7 × 7 points, 50 training samples." in summary["caption"]
    assert "end at the runs' last checkpoints, bit for bit" in summary["caption"]
    surface = pd.read_csv(folder / "landscape.csv")
    assert list(surface) == ["a", "b", "cross_entropy", "mse"]
    assert surface["a"].tolist() == pytest.approx([*drawn.a] * 7)
    np.testing.assert_allclose(surface["mse"], drawn.arms[1].surface.flatten())
    paths = pd.read_csv(folder / "landscape_paths.csv")
    assert list(paths) == ["arm", "step", "a", "b", "off_plane", "loss", "projected_loss"]
    assert paths.groupby("arm")["step"].max().to_dict() == {"cross_entropy": 20, "mse": 20}


def test_the_same_command_gives_the_same_numbers(sweep, drawn):
    again = compute_landscape(sweep, points=7, samples=50)
    for each, other in zip(drawn.arms, again.arms, strict=True):
        pd.testing.assert_frame_equal(each.path, other.path)
    assert caption(again) == caption(drawn)


def test_what_is_no_number_is_left_blank(drawn):
    first, second = drawn.arms
    holed, empty = first.surface.copy(), np.full_like(second.surface, np.nan)
    holed[0, :3] = np.inf
    arms = (replace(first, surface=holed), replace(second, surface=empty, share_in_plane=np.nan))
    assert set(render(landscape_figure(replace(drawn, arms=arms)), "x")) == {"x.png", "x.svg"}


def test_one_loss_has_one_map(drawn):
    first, second = drawn.arms
    both = replace(
        drawn, arms=(first, replace(second, run=replace(second.run, record=first.run.record)))
    )
    assert both.one_loss
    assert not drawn.one_loss
    titles = [[axes.get_title("left") for axes in landscape_figure(x).axes] for x in (both, drawn)]
    assert [len([t for t in each if "surface" in t]) for each in titles] == [1, 2]
    assert caption(both).startswith("The loss on the plane")


def test_the_end_that_differs_or_is_unknown_is_said(drawn):
    first, second = drawn.arms
    text = caption(replace(drawn, arms=(replace(first, drift=None), replace(second, drift=2e-7))))
    assert "loss=cross_entropy has no last.ckpt" in text
    assert "Caution: the path of loss=mse, trained again, ends up to 2e-07 away" in text


def test_snapshots_are_dense_at_first_and_reach_the_end():
    steps = sorted(snapshot_steps(2_577))
    assert steps[:6] == [0, 1, 2, 3, 4, 5]
    assert steps[-1] == 2_577
    assert 45 <= len(steps) <= 61
    assert max(np.diff(steps)) <= 90
    assert snapshot_steps(1) == {0, 1}


def test_what_cannot_be_drawn_is_said(sweep, tmp_path):
    with pytest.raises(ValueError, match="expected points of at least 3, got 2"):
        compute_landscape(sweep, points=2)
    write_idx(tmp_path, seed=1)
    with pytest.raises(ValueError, match=r"expected the data of .*--data-dir"):
        compute_landscape(sweep, data_dir=tmp_path)


@pytest.mark.long
def test_a_received_run_calls_nothing_that_it_names(sweep, tmp_path):
    config = record.read(sweep / "loss=mse")["config"]
    callback = {"_target_": "runlab.callbacks.StopOnDivergence"}
    for place in ("module", "data", "model", "loss", "optimizer", "scheduler", "callback"):
        several = place == "callback"
        for what, attack in attacks(tmp_path).items():
            for node in [attack, *nested(callback if several else config[place] or {}, attack)]:
                changed = {**config, place: {"x": node} if several else node}
                with pytest.raises(ValueError, match=rf"^(expected|cannot import) {place}"):
                    without_output(changed, "run", str(tmp_path))
                assert not (tmp_path / CALLED).exists(), what


@pytest.mark.parametrize("callback", [[1], {"a": {}}, {"a": None}, {"a": 5}])
def test_odd_callbacks_are_one_sentence(sweep, tmp_path, callback):
    changed = {**record.read(sweep / "loss=mse")["config"], "callback": callback}
    with pytest.raises(ValueError, match=r"^expected callback.+(by its keys|a dotted name)"):
        without_output(changed, "run", str(tmp_path))


def test_neither_run_is_trained_if_one_names_what_it_may_not(sweep, tmp_path, monkeypatch):
    received = shutil.copytree(sweep, tmp_path / "received")
    entry = record.read(received / "loss=mse")
    entry["config"]["optimizer"] |= attacks(tmp_path)["pickle"]
    record.write(received / "loss=mse", entry)
    before = contents(received)
    monkeypatch.setattr(sys, "argv", [SCRIPT, str(received), "--points", "3", "--samples", "9"])
    with pytest.raises(SystemExit) as raised:
        runpy.run_path(SCRIPT, run_name="__main__")
    assert str(raised.value.code).startswith("expected optimizer._target_ to name a class derived")
    assert not (tmp_path / CALLED).exists()
    assert contents(received) == before


def test_a_received_sweep_reads_no_environment(sweep, tmp_path, monkeypatch):
    monkeypatch.setenv(SECRET, "hidden")
    config = record.read(sweep / "loss=mse")["config"]
    for text in RESOLVED:
        with pytest.raises(ValueError, match=r"^expected objective as plain text"):
            without_output({**config, "objective": text}, "run", str(tmp_path))
    cfg = without_output(config, f"${{oc.env:{SECRET}}}", str(tmp_path))
    assert cfg.run.name == f"${{oc.env:{SECRET}}}"


def test_the_script_prints_the_caption_or_one_sentence(sweep, monkeypatch, capsys):
    def call(*arguments: str) -> None:
        monkeypatch.setattr(sys, "argv", [SCRIPT, *arguments])
        runpy.run_path(SCRIPT, run_name="__main__")

    rebuilt = []  # the comparison's figures take seconds
    monkeypatch.setattr("runlab.analysis.rebuild.rebuild", rebuilt.append)
    call(str(sweep), "--points", "3", "--samples", "9999")
    assert rebuilt == [sweep]
    out = " ".join(capsys.readouterr().out.split())
    assert "3 × 3 points, 160 training samples" in out
    assert out.endswith("landscape.png")
    with pytest.raises(SystemExit) as raised:
        call(str(sweep), "--arms", "mse", "huber")
    assert str(raised.value.code).startswith("unknown arm 'huber'")
