"""Any LightningDataModule: its loaders are all that a run, and what is made of it, ask for."""

from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import open_dict

from runlab.extras.landscape.choice import ChosenRun
from runlab.extras.landscape.trajectory import retrain, training_samples
from runlab.extras.reproduce.reproduce import reproduce
from runlab.runs import record
from runlab.train import train
from tests.compose import compose

PLAIN = "tests.data.plain.Plain"
SIZES = ["model.shape=[3]", "model.num_classes=2", "module.num_classes=2"]


def run(folder: Path, target: str, *overrides: str) -> dict[str, Any]:
    folder.mkdir(exist_ok=True)
    epochs = ["trainer=cpu", "trainer.max_epochs=2", "callback=[default,pr_curves]"]
    cfg = compose(*SIZES, *epochs, *overrides, folder=folder)
    with open_dict(cfg):
        cfg.data = {"_target_": target}
    entry = train(cfg)
    assert entry is not None
    return entry


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sweep") / "run"
    run(folder, PLAIN)
    return folder


def test_loaders_are_all_that_a_run_needs(plain):
    entry = record.read(plain)
    assert entry["status"] == "finished"
    assert entry["metrics"]["test/samples"] == 50
    assert entry["metrics"]["test/accuracy"] > 0.8
    assert entry["provenance"]["data"] is None
    assert (plain / "predictions.npz").exists()


def test_other_data_without_a_checksum_are_not_taken_for_the_same(tmp_path):
    cfg = compose(*SIZES, "trainer=cpu", "trainer.max_epochs=1", folder=tmp_path)
    with open_dict(cfg):
        cfg.data = {"_target_": "tests.data.plain.Rooted", "root": "first"}
    entry = train(cfg)
    assert train(cfg)["metrics"] == entry["metrics"]
    cfg.data.root = "second"
    with pytest.raises(
        ValueError, match=r"a run on the data in first, got data.root=second.*name="
    ):
        train(cfg)


@pytest.mark.long
@pytest.mark.parametrize(
    ("own", "samples", "steps"),
    [
        # each device takes 50 of 100 samples, 16 at once
        (["~data", f"+data._target_={PLAIN}", *SIZES], (50, 50), 4),
        # 160 samples, 16 at once for both
        (["data.loader=dataloader", "+trainer.use_distributed_sampler=true"], (40, 50), 10),
    ],
    ids=["Lightning", "TensorData"],
)
def test_two_processes_share_the_samples_whoever_shards(
    tmp_path, commands, tiny, own, samples, steps
):
    given = [each for each in tiny if "~data" not in own or not each.startswith("data.")]
    run = ["trainer=ddp_sim", "trainer.max_epochs=1", "logger=none", "callback=checkpoint"]
    place = f"hydra.run.dir={tmp_path}/run"
    done = commands.run(tmp_path, "scripts/train.py", *given, *run, *own, place)
    assert done.returncode == 0, done.stderr
    metrics = record.read(tmp_path / "run")["metrics"]
    assert (metrics["val/samples"], metrics["test/samples"]) == samples
    last = torch.load(tmp_path / "run" / "checkpoints" / "last.ckpt", weights_only=True)
    assert last["global_step"] == steps


def test_batches_may_be_dicts(tmp_path):
    cfg = compose("trainer=cpu", "trainer.max_epochs=2", "callback=checkpoint", folder=tmp_path)
    with open_dict(cfg):
        cfg.data = {"_target_": "tests.data.plain.Dictionaries"}
        cfg.module = {"_target_": "tests.data.plain.OnDictionaries"}
        cfg.model = {"_target_": "torch.nn.Identity"}  # which the module does not name
        cfg.callback.best.monitor = "val/loss"
        cfg.callback.best.mode = "min"
        cfg.callback.speed = {"_target_": "runlab.callbacks.Throughput"}
    entry = train(cfg)
    assert entry["status"] == "finished"
    assert entry["metrics"]["test/loss"] < 0.5
    assert entry["timing"]["samples_per_second"] > 0


def test_it_is_trained_again_to_the_same_numbers(plain, tmp_path, monkeypatch):
    monkeypatch.setenv("RUNLAB_TRUST", "tests")
    assert reproduce(plain, tmp_path / "again").largest_drift() == 0


def test_it_has_a_landscape(plain):
    entry = record.read(plain)
    trajectory = retrain(ChosenRun("arm", plain, entry, None, 0.0), entry["config"])
    assert trajectory.drift == 0
    assert trajectory.steps[-1] == 14
    inputs, targets = training_samples(entry["config"], 40)
    assert (inputs.shape, targets.shape) == ((40, 3), (40,))
