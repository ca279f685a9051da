import csv
import json
import os
from pathlib import Path

import lightning as L
import numpy as np
import pytest
import torch
from filelock import FileLock
from hydra.utils import instantiate
from lightning.fabric.utilities.warnings import PossibleUserWarning
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

from runlab.components import build_module
from runlab.runs import record
from runlab.train import train
from tests.compose import compose
from tests.idx import write_idx

SCRIPT = "scripts/train.py"


@pytest.fixture
def run(tmp_path, tiny):
    """Trains with the overrides given, in a folder of that name."""

    def train_in(folder, *overrides):
        cfg = compose(*tiny, *overrides, folder=tmp_path / folder)
        (tmp_path / folder).mkdir(exist_ok=True)
        return train(cfg)

    return train_in


@pytest.fixture(scope="module")
def finished(tmp_path_factory, tiny):
    folder = tmp_path_factory.mktemp("finished") / "loss=mse,lr=0.5,seed=0"
    folder.mkdir()
    entry = train(compose(*tiny, "loss=mse", "optimizer.lr=0.5", folder=folder))
    return folder, entry


def test_a_run_learns_and_is_recorded(finished):
    folder, entry = finished
    assert {"layout": record.LAYOUT} | entry == record.read(folder)
    assert entry["status"] == "finished"
    assert set(entry) == {
        "status", "error", "metrics", "timing", "sweep_index", "launch", "overrides", "choices",
        "label", "parameters",
        "config", "fingerprint", "provenance", "measures", "module",
    }  # fmt: skip
    measured = {"loss", "accuracy", "nll", "brier", "ece", "chance", "samples"}
    expected = {f"{split}/{name}" for split in ("val", "test") for name in measured}
    assert set(entry["metrics"]) == expected | {"train/loss", "best_epoch", "epochs"}
    assert entry["metrics"]["test/accuracy"] > 0.9
    assert entry["metrics"]["val/samples"] == 40
    assert entry["timing"]["samples_per_second"] > 0
    assert entry["provenance"]["data"]
    assert entry["choices"]["loss"] == "mse"


@pytest.mark.parametrize("name", ["best", "last"])
def test_checkpoints_hold_only_tensors_and_plain_values(finished, name):
    checkpoint = torch.load(finished[0] / "checkpoints" / f"{name}.ckpt", weights_only=True)
    assert checkpoint["hyper_parameters"]["config"]["loss"]["_target_"] == "losslab.losses.MSE"


def test_tensorboard_has_every_curve_against_optimizer_steps(finished):
    events = EventAccumulator(str(finished[0]))
    events.Reload()
    tags = set(events.Tags()["scalars"])
    assert {"train/loss", "train/gradient_norm", "train/learning_rate"} <= tags
    assert {f"val/{name}" for name in ("loss", "accuracy", "nll", "brier", "ece")} <= tags
    assert {f"test/{name}" for name in ("loss", "accuracy", "nll", "brier", "ece")} <= tags
    assert "timing/samples_per_second" in tags
    assert "step" not in tags
    assert [event.step for event in events.Scalars("train/loss")] == [4, 8, 10, 14, 18, 20]
    assert [event.step for event in events.Scalars("val/accuracy")] == [10, 20]


def test_hparams_hold_what_identifies_the_run_with_its_final_metrics(finished):
    folder, entry = finished
    events = EventAccumulator(str(folder))
    events.Reload()
    start = events.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
    shown = HParamsPluginData.FromString(start).session_start_info.hparams
    assert shown["loss"].string_value == "mse"
    assert shown["lr"].number_value == 0.5
    assert shown["seed"].number_value == 0
    assert {"batch_size", "max_epochs"} <= set(shown)
    for tag, metric in (("best/accuracy", "val/accuracy"), ("test/nll", "test/nll")):
        [point] = events.Scalars(tag)
        assert point.value == pytest.approx(entry["metrics"][metric])


@pytest.mark.long
@pytest.mark.parametrize("overrides", [[], ["model=cnn", "model.dropout=0.2", "optimizer=adam"]])
def test_the_same_command_twice_gives_identical_metrics_bit_for_bit(run, overrides):
    first, second = run("first", *overrides), run("second", *overrides)
    assert first["metrics"] == second["metrics"]


@pytest.mark.long
def test_both_loaders_train_the_same_run(run):
    tensor = run("tensor", "data.loader=tensor")["metrics"]
    images = run("images", "data.loader=dataloader", "trainer.log_every_n_steps=4")["metrics"]
    assert tensor["test/nll"] == images["test/nll"]
    assert tensor["best_epoch"] == images["best_epoch"]


def test_every_arm_and_learning_rate_starts_from_the_seeds_weights(tmp_path, tiny):
    starts = []
    for overrides in (["loss=mse", "optimizer.lr=0.1"], ["loss=cross_entropy", "optimizer=adam"]):
        cfg = compose(*tiny, *overrides, "seed=3", folder=tmp_path)
        weights = build_module(cfg).network.state_dict()
        starts.append(torch.cat([tensor.flatten() for tensor in weights.values()]))
    assert torch.equal(*starts)


def test_another_seed_trains_another_run(run):
    assert run("zero", "seed=0")["metrics"] != run("one", "seed=1")["metrics"]


def test_a_run_whose_loss_explodes_is_recorded_diverged_and_stops(run, tmp_path):
    entry = run("exploding", "loss=mse_logits", "optimizer.lr=1e6", "trainer.max_epochs=5")
    assert entry["status"] == "diverged"
    assert (
        json.loads((tmp_path / "exploding" / "run.json").read_text())["metrics"]["val/loss"] is None
    )
    assert entry["metrics"]["test/accuracy"] < 0.2
    checkpoint = torch.load(tmp_path / "exploding" / "checkpoints" / "last.ckpt", weights_only=True)
    assert checkpoint["epoch"] == 0


def test_a_run_that_ends_at_chance_is_recorded_collapsed(run):
    assert run("asleep", "optimizer.lr=0")["status"] == "collapsed"


class Forgetting(L.Callback):
    """Makes the network guess from its second epoch on: of zeros it learns but the last bias."""

    def on_train_epoch_start(self, trainer, pl_module):
        if trainer.current_epoch >= 1:
            for parameter in pl_module.parameters():
                parameter.data.zero_()


@pytest.mark.long
def test_a_run_that_falls_back_to_chance_collapsed_and_counts_by_its_best_weights(run):
    forgetting = "+callback.forgetting._target_=tests.test_train.Forgetting"
    entry = run("run", forgetting, "trainer.max_epochs=3", "optimizer.lr=0.1")
    assert entry["status"] == "collapsed"
    assert entry["metrics"]["epochs"] == 3, "it may come back, and trains on"
    assert entry["metrics"]["best_epoch"] == 0
    assert entry["metrics"]["test/accuracy"] > 0.5


def test_a_finished_run_is_skipped_and_keeps_its_files(run, tmp_path):
    run("run")
    before = (tmp_path / "run" / "run.json").stat().st_mtime_ns
    run("run")
    assert (tmp_path / "run" / "run.json").stat().st_mtime_ns == before


def test_a_folder_with_another_configurations_run_is_refused_and_kept(run, tmp_path):
    run("run", "optimizer.lr=0.2")
    kept = record.read(tmp_path / "run")
    with pytest.raises(
        ValueError, match=r"optimizer\.lr: 0\.2 -> 0\.3.*name=…, or.*overwrite=true"
    ):
        run("run", "optimizer.lr=0.3")
    assert record.read(tmp_path / "run") == kept


def test_a_run_on_other_data_is_not_taken_for_this_one(run, tmp_path):
    run("run")
    kept = record.read(tmp_path / "run")
    write_idx(tmp_path / "other", seed=1)
    with pytest.raises(ValueError, match=r"expected the data of .*overwrite=true"):
        run("run", f"data_dir={tmp_path}/other")
    assert record.read(tmp_path / "run") == kept


@pytest.mark.long
def test_overwrite_trains_again_without_mixing_curves(run, tmp_path):
    run("run", "optimizer.lr=0.2")
    entry = run("run", "optimizer.lr=0.3", "overwrite=true")
    assert entry["config"]["optimizer"]["lr"] == 0.3
    events = EventAccumulator(str(tmp_path / "run"))
    events.Reload()
    assert len(events.Scalars("val/accuracy")) == 2


def test_a_mistake_with_overwrite_leaves_the_run_as_it_was(run, tmp_path):
    run("run")
    kept = record.read(tmp_path / "run")
    with pytest.raises(ValueError, match=r"optimizer\.lr"):
        run("run", "optimizer.lr=-1", "overwrite=true")
    assert record.read(tmp_path / "run") == kept
    assert (tmp_path / "run" / "checkpoints" / "best.ckpt").exists()


def test_files_in_a_folder_that_holds_no_run_are_left_alone(run, tmp_path):
    (tmp_path / "run").mkdir()
    mine = tmp_path / "run" / "traceback.txt"
    mine.write_text("mine")
    run("run")
    assert mine.read_text() == "mine"


def test_a_run_that_raises_is_recorded_failed_with_its_traceback(run, tmp_path):
    with pytest.raises(ValueError, match="an output for each of 10 classes"):
        run("run", "model.num_classes=5")
    assert record.read(tmp_path / "run")["status"] == "failed"
    assert "Traceback" in (tmp_path / "run" / "traceback.txt").read_text()


def test_a_failed_run_is_trained_by_the_same_command(run, tmp_path, monkeypatch):
    with monkeypatch.context() as broken:
        broken.setattr("runlab.components.build_trainer", fail)
        with pytest.raises(RuntimeError, match="no luck"):
            run("run")
    assert run("run")["status"] == "finished"
    assert not (tmp_path / "run" / "traceback.txt").exists()


def fail(*arguments, **options):
    raise RuntimeError("no luck")


@pytest.mark.long
@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
@pytest.mark.parametrize("scheduler", ["none", "cosine", "one_cycle"])
def test_every_optimizer_trains_with_every_scheduler(run, optimizer, scheduler):
    lr = {"sgd": 0.1}.get(optimizer, 0.003)
    entry = run("run", f"optimizer={optimizer}", f"scheduler={scheduler}", f"optimizer.lr={lr}")
    assert entry["metrics"]["test/accuracy"] > 0.5


def test_cosine_ends_at_a_learning_rate_of_zero(run, tmp_path):
    run("run", "scheduler=cosine", "data.steps_per_execution=1")
    events = EventAccumulator(str(tmp_path / "run"))
    events.Reload()
    learning_rates = [event.value for event in events.Scalars("train/learning_rate")]
    assert learning_rates[0] == pytest.approx(0.1)
    assert learning_rates[-1] < 0.001
    assert learning_rates == sorted(learning_rates, reverse=True)


@pytest.mark.long
@pytest.mark.parametrize("trainer", ["fast_dev_run", "overfit", "profiler", "detect_anomaly"])
def test_debug_trainers_run(run, tmp_path, trainer):
    tiny_overfit = ["trainer.max_epochs=30"] if trainer == "overfit" else []
    entry = run("run", f"trainer={trainer}", "trainer.accelerator=cpu", *tiny_overfit)
    assert entry["status"] in ("finished", "diverged")
    if trainer == "overfit":
        assert entry["metrics"]["train/loss"] < 0.05
    if trainer == "profiler":
        assert list((tmp_path / "run").glob("*profile*.txt"))


def test_without_callbacks_and_loggers_a_run_still_trains(run, tmp_path):
    nothing = ["logger=none", "~callback.best", "~callback.last", "~callback.progress"]
    entry = run("run", *nothing, "~callback.gradient_norm", "~callback.throughput",
        "~callback.output_gradient", "~callback.curves", "~callback.predictions",
        "~callback.sample_images", "~callback.confusion", "~callback.first_layer")  # fmt: skip
    assert entry["status"] == "finished"
    assert "best_epoch" not in entry["metrics"]
    assert not list((tmp_path / "run").glob("events*"))


class OnTheFirstDevice(L.Callback):
    """Logs on one device only, for which no other may wait."""

    blocks_suffice = True

    def on_train_batch_end(self, trainer, pl_module, *_):
        if trainer.is_global_zero:
            pl_module.log("own", 1.0, rank_zero_only=True)


@pytest.mark.long
def test_two_cpu_processes_train_as_one_does(run, tmp_path, commands, tiny):
    alone = run("alone", "trainer.max_epochs=1")["metrics"]
    overrides = [*tiny, "trainer=ddp_sim", "trainer.max_epochs=1", f"hydra.run.dir={tmp_path}/both"]
    overrides += ["+callback.first._target_=tests.test_train.OnTheFirstDevice"]
    done = commands.run(tmp_path, SCRIPT, *overrides)
    assert done.returncode == 0, done.stderr
    both = record.read(tmp_path / "both")["metrics"]
    assert both["test/samples"] == alone["test/samples"] == 50
    labels = [np.load(tmp_path / name / "predictions.npz")["label"] for name in ("alone", "both")]
    assert labels[0].tolist() == labels[1].tolist()
    for name in ("train/loss", "val/loss", "test/nll", "test/brier"):
        assert both[name] == pytest.approx(alone[name], rel=1e-4)
    curves = [losses(tmp_path / name) for name in ("alone", "both")]
    assert curves[1] == pytest.approx(curves[0], rel=1e-4)


def losses(folder: Path) -> list[float]:
    """Of training, as TensorBoard shows them, the steps they belong to between them."""
    events = EventAccumulator(str(folder))
    events.Reload()
    return [number for e in events.Scalars("train/loss") for number in (e.step, e.value)]


def test_a_gpu_that_is_not_there_is_one_sentence(run):
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(ValueError, match=r"trainer\.accelerator to be one of .*which this machine"):
        run("run", "trainer=gpu")


def test_the_best_epochs_weights_are_those_that_are_tested(run, tmp_path):
    metrics = run("run", "trainer.max_epochs=6", "optimizer.lr=0.01")["metrics"]
    events = EventAccumulator(str(tmp_path / "run"))
    events.Reload()
    accuracies, nll = [
        [event.value for event in events.Scalars(f"val/{name}")] for name in ("accuracy", "nll")
    ]
    best = accuracies.index(max(accuracies))
    assert 0 < best < 5, "the best epoch is the first or the last: no mistake would be seen"
    assert metrics["best_epoch"] == best
    assert metrics["val/accuracy"] == pytest.approx(max(accuracies))
    assert metrics["val/nll"] == pytest.approx(nll[best])


class Breaking(L.Callback):
    """Breaks the network after its first epoch."""

    def on_train_epoch_start(self, trainer, pl_module):
        if trainer.current_epoch == 1:
            next(pl_module.parameters()).data.fill_(float("nan"))


def test_a_run_that_diverges_late_counts_by_its_best_weights_as_any_other(run, tmp_path):
    entry = run("run", "+callback.breaking._target_=tests.test_train.Breaking")
    sound = run("sound", "trainer.max_epochs=1")
    assert entry["status"] == "diverged"
    assert entry["metrics"]["best_epoch"] == 0
    assert entry["metrics"]["test/nll"] == sound["metrics"]["test/nll"]


def test_without_a_best_checkpoint_it_counts_by_its_last_weights(run):
    breaking = "+callback.breaking._target_=tests.test_train.Breaking"
    entry = run("run", breaking, "~callback.best")
    assert entry["status"] == "diverged"
    assert entry["metrics"]["test/accuracy"] < 0.2
    assert "best_epoch" not in entry["metrics"]


def test_a_run_that_another_process_trains_is_left_to_it(run, tmp_path, caplog):
    (tmp_path / "run").mkdir()
    with FileLock(tmp_path / "run" / ".lock"), caplog.at_level("INFO"):
        assert run("run") is None
    assert "being trained by another process" in caplog.text
    assert not (tmp_path / "run" / "run.json").exists()


@pytest.mark.long
def test_so_it_is_if_its_record_is_damaged(run, tmp_path, caplog):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "run.json").write_text("{")
    with FileLock(tmp_path / "run" / ".lock"), caplog.at_level("INFO"):
        assert run("run") is None
    assert "being trained by another process" in caplog.text
    assert (tmp_path / "run" / "run.json").read_text() == "{"


def test_an_interrupted_run_is_recorded_so(run, tmp_path, monkeypatch):
    def interrupt(run):
        assert record.read(tmp_path / "run")["status"] == "running"
        raise KeyboardInterrupt

    monkeypatch.setattr("runlab.train.fit_and_test", interrupt)
    with pytest.raises(KeyboardInterrupt):
        run("run")
    assert record.read(tmp_path / "run")["status"] == "interrupted"


def test_the_seed_gives_the_start_and_the_order_each(tmp_path, tiny):
    starts, orders = [], []
    for seed in (0, 1):
        cfg = compose(*tiny, f"seed={seed}", folder=tmp_path)
        data = instantiate(cfg.data)
        data.setup()
        starts.append(next(build_module(cfg).network.parameters()))
        orders.append(data.train_dataloader().sampler.order())
    assert not torch.equal(*starts)
    assert not torch.equal(*orders)


def test_max_steps_ends_a_run_and_csv_is_another_logger(run, tmp_path):
    entry = run("run", "+trainer.max_steps=12", "logger=[tensorboard,csv]")
    assert entry["status"] in ("finished", "diverged")
    assert list((tmp_path / "run" / "csv").rglob("metrics.csv"))


FEW = ["logger=none", "callback=[checkpoint,curves]"]
LOOKS = "+callback.early={_target_:lightning.pytorch.callbacks.EarlyStopping,monitor:val/accuracy,"
LOOKS += "mode:max,min_delta:1,patience:2,check_on_train_epoch_end:true}"
PLANS = {
    "max_steps": (["+trainer.max_steps=13"], [1, 1.3]),
    "every second epoch": (["trainer.max_epochs=3", "+trainer.check_val_every_n_epoch=2"], [2, 3]),
    "an interval": (["+trainer.val_check_interval=8"], [0.8, 1.8, 2]),
    "stopped early": (
        ["trainer.max_epochs=9", "+trainer.check_val_every_n_epoch=2", LOOKS], [1, 2, 3]
    ),
}  # fmt: skip


@pytest.mark.long
@pytest.mark.parametrize("plan", PLANS)
def test_the_last_weights_are_measured_whatever_was_planned(run, tmp_path, plan):
    overrides, measured = PLANS[plan]
    entry = run("run", *FEW, *overrides, "optimizer.lr=0.02")
    with (tmp_path / "run" / "curves.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["epoch"]) for row in rows] == measured
    assert entry["metrics"]["epochs"] == measured[-1]
    folder = tmp_path / "run" / "checkpoints"
    best, last = (torch.load(folder / f"{e}.ckpt", weights_only=True) for e in ("best", "last"))
    curve = [float(row["val/accuracy"]) for row in rows]
    assert entry["metrics"]["val/accuracy"] == pytest.approx(max(curve))
    assert best["runlab"]["metrics"]["val/accuracy"] == pytest.approx(max(curve))
    assert best["epoch"] == entry["metrics"]["best_epoch"]
    assert best["global_step"] == int(float(rows[curve.index(max(curve))]["step"]))
    assert last["global_step"] == int(float(rows[-1]["step"]))
    assert last["runlab"]["metrics"]["val/accuracy"] == pytest.approx(curve[-1])
    assert last["runlab"]["metrics"]["epochs"] == measured[-1]


class Ends(L.Callback):
    """Stops the process after the last step, once, when it was saved and not yet validated."""

    done = False

    def on_validation_start(self, trainer, pl_module):
        if trainer.global_step == 14 and not Ends.done:
            Ends.done = True
            raise SystemExit("stopped by the test")


@pytest.mark.filterwarnings("ignore:Using ModelCheckpoint with manual optimization")
def test_they_are_measured_though_the_run_was_stopped_just_before(run, tmp_path):
    overrides = [*FEW, "+trainer.max_steps=14", "+callback.last.every_n_train_steps=14"]
    overrides += ["+callback.ends._target_=tests.test_train.Ends"]
    Ends.done = False
    with pytest.raises(SystemExit, match="stopped by the test"):
        run("run", *overrides)
    entry, reference = run("run", *overrides), run("reference", *overrides)
    assert entry["metrics"] == reference["metrics"]
    curves = [(tmp_path / name / "curves.csv").read_text() for name in ("run", "reference")]
    assert curves[0] == curves[1]


@pytest.fixture
def srun(tmp_path, monkeypatch):
    """Puts SLURM's command on the PATH, as it is on a cluster's login node; returns the PATH."""
    (tmp_path / "bin").mkdir()
    command = tmp_path / "bin" / "srun"
    command.write_text("#!/bin/sh\n")
    command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{command.parent}{os.pathsep}{os.environ['PATH']}")
    return os.environ["PATH"]


def test_where_slurm_is_installed_lightning_hints_at_it_and_a_run_does_not(run, srun):
    with pytest.warns(PossibleUserWarning, match="`srun` command is available"):
        L.Trainer(accelerator="cpu", logger=False)
    assert run("run")["status"] == "finished"


@pytest.mark.long
@pytest.mark.parametrize("launcher", ["basic", "processes", "stacked"])
def test_nor_does_it_in_any_process_of_a_sweep(tmp_path, commands, tiny, srun, launcher):
    sweep = ["-m", *tiny, "trainer.max_epochs=1", "seed=0,1", f"hydra/launcher={launcher}"]
    done = commands.run(tmp_path, SCRIPT, *sweep, environment={"PATH": srun})
    assert (done.returncode, done.stderr) == (0, "")
