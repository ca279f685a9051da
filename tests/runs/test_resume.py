"""A run that was stopped ends, after the same command again, as one that was not."""

import csv
import errno
import os
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.optim.lr_scheduler import ReduceLROnPlateau

import runlab.train
from runlab import atomic
from runlab.runs import record
from runlab.train import train
from tests.compose import compose
from tests.level_one import Deep

EPOCHS = 4
# learns slowly enough for the best epoch to be none of the first
SLOW = [
    "optimizer.lr=0.02", f"trainer.max_epochs={EPOCHS}",
    "~callback.sample_images", "~callback.confusion", "~callback.first_layer",
]  # fmt: skip
STOP = "+callback.stop._target_=tests.runs.test_resume.Stop"


class Stop(L.Callback):
    """Ends the process, as far as a test can: at one hook of one epoch, the first time."""

    blocks_suffice = True

    hook, epoch = "", 0

    @classmethod
    def at(cls, hook: str, epoch: int) -> None:
        cls.hook, cls.epoch = hook, epoch

    def reached(self, hook: str, trainer: L.Trainer) -> None:
        if Stop.hook == hook and trainer.current_epoch == Stop.epoch:
            Stop.hook = ""
            raise SystemExit("stopped by the test")

    def on_train_start(self, trainer, pl_module):
        self.reached("train start", trainer)

    def on_train_epoch_start(self, trainer, pl_module):
        self.reached("epoch start", trainer)

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.reached({1: "second block", 3: "fourth block"}.get(batch_idx, "other"), trainer)

    def on_validation_start(self, trainer, pl_module):
        if trainer.state.fn == "fit":
            self.reached("validation start", trainer)

    def on_validation_end(self, trainer, pl_module):
        if trainer.training or trainer.state.fn == "fit":
            self.reached("validation end", trainer)

    def on_train_epoch_end(self, trainer, pl_module):
        self.reached("epoch end", trainer)

    def on_train_end(self, trainer, pl_module):
        self.reached("train end", trainer)

    def on_test_end(self, trainer, pl_module):
        self.reached("test end", trainer)


@pytest.fixture
def run(tmp_path, tiny):
    def train_in(folder: str, *overrides: str) -> dict[str, Any] | None:
        (tmp_path / folder).mkdir(exist_ok=True)
        return train(compose(*tiny, *SLOW, *overrides, folder=tmp_path / folder))

    return train_in


@pytest.fixture(scope="module")
def unstopped(tmp_path_factory, tiny):
    """Trains with these overrides in one go, once."""
    done: dict[tuple[str, ...], Path] = {}

    def train_once(*overrides: str) -> Path:
        if overrides not in done:
            folder = done[overrides] = tmp_path_factory.mktemp("unstopped")
            train(compose(*tiny, *SLOW, *overrides, folder=folder))
        return done[overrides]

    return train_once


def curves(folder: Path) -> dict[str, list[tuple[int, str]]]:
    events = EventAccumulator(str(folder), size_guidance={"scalars": 0})
    events.Reload()
    return {
        tag: [(event.step, repr(event.value)) for event in events.Scalars(tag)]
        for tag in events.Tags()["scalars"]
        if not tag.startswith("timing/")
    }


def weights(folder: Path, name: str) -> dict[str, Any]:
    return torch.load(folder / "checkpoints" / name, weights_only=True)["state_dict"]


def assert_same(folder: Path, reference: Path) -> None:
    ours, theirs = record.read(folder), record.read(reference)
    assert ours["status"] == theirs["status"]
    assert ours["metrics"] == theirs["metrics"]
    assert curves(folder) == curves(reference)
    for name in ("curves.csv", "predictions.npz"):
        assert (folder / name).read_bytes() == (reference / name).read_bytes()
    for name in ("best.ckpt", "last.ckpt"):
        a, b = weights(folder, name), weights(reference, name)
        assert all(torch.allclose(a[key], b[key], rtol=0, atol=0, equal_nan=True) for key in a)
    saved = {path.name for path in (folder / "checkpoints").glob("*.ckpt")}
    assert saved == {"best.ckpt", "last.ckpt"}


MOMENTS = [
    ("train start", 0), ("second block", 0), ("epoch end", 0), ("epoch start", 1),
    ("second block", 2), ("validation end", 2), ("epoch end", 2), ("validation end", 3),
    ("train end", 4), ("test end", 4),
]  # fmt: skip


@pytest.mark.parametrize(("hook", "epoch"), MOMENTS)
def test_a_stopped_run_ends_as_one_that_was_not(run, tmp_path, unstopped, hook, epoch):
    Stop.at(hook, epoch)
    with pytest.raises(SystemExit, match="stopped by the test"):
        run("run", STOP)
    assert record.read(tmp_path / "run")["status"] == "interrupted"
    entry = run("run", STOP)
    assert entry["timing"]["resumed"] == (epoch > 0), "it started over"
    assert_same(tmp_path / "run", unstopped(STOP))


@pytest.mark.long
@pytest.mark.filterwarnings("ignore:Using ModelCheckpoint with manual optimization")
def test_one_that_was_stopped_within_an_epoch_goes_on_there(run, tmp_path, unstopped):
    within = "+callback.last.every_n_train_steps=4"  # blocks of 2, as an epoch has 10
    Stop.at("fourth block", 2)
    with pytest.raises(SystemExit, match="stopped by the test"):
        run("run", STOP, within)
    path = tmp_path / "run" / "checkpoints" / "last.ckpt"
    assert torch.load(path, weights_only=True)["global_step"] == 24
    run("run", STOP, within)
    assert_same(tmp_path / "run", unstopped(STOP, within))


@pytest.mark.long
@pytest.mark.filterwarnings("ignore:Using ModelCheckpoint with manual optimization")
@pytest.mark.parametrize(
    ("within", "hook", "resumed"),
    [
        ([], "second block", 0),
        (["+callback.last.every_n_train_steps=4"], "fourth block", 1),
    ],
)
def test_with_max_steps_a_run_goes_on_where_that_is_exact(
    run, tmp_path, unstopped, caplog, within, hook, resumed
):
    overrides = ["+trainer.max_steps=34", STOP, *within]
    Stop.at(hook, 2)
    with pytest.raises(SystemExit, match="stopped by the test"):
        run("run", *overrides)
    assert run("run", *overrides)["timing"]["resumed"] == resumed
    said = "run: starts over, which removes best.ckpt, last.ckpt"
    assert (said in caplog.text) == (not resumed)
    assert_same(tmp_path / "run", unstopped(*overrides))


@pytest.mark.long
@pytest.mark.filterwarnings("ignore:Using ModelCheckpoint with manual optimization")
@pytest.mark.parametrize(
    ("epoch", "own"),
    [
        (1, ["+callback.last.every_n_train_steps=10", "scheduler=plateau", "scheduler.patience=0"]),
        (0, ["+callback.last.every_n_train_steps=4", "+trainer.val_check_interval=4"]),
    ],
)
def test_a_checkpoint_before_a_validation_that_was_due_is_not_gone_on_from(
    run, tmp_path, unstopped, caplog, epoch, own
):
    Stop.at("validation start", epoch)
    with pytest.raises(SystemExit, match="stopped by the test"):
        run("run", STOP, *own)
    run("run", STOP, *own)
    assert "before a validation or a schedule's step that was due" in caplog.text
    assert_same(tmp_path / "run", unstopped(STOP, *own))


class ByMetric(Deep):
    """Its rate is halved after each validation that is not a tenth of the best."""

    def configure_optimizers(self):
        optimizer = super().configure_optimizers()
        schedule = ReduceLROnPlateau(optimizer, factor=0.5, patience=0, threshold=0.9)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "monitor": "val_loss"},
        }


@pytest.mark.long
def test_a_module_of_lightnings_kind_loses_no_step_of_a_schedule_by_a_metric(tmp_path, tiny):
    module = "module._target_=tests.runs.test_resume.ByMetric"
    own = ["module=plain", module, STOP, "callback=checkpoint", "trainer.max_epochs=4"]

    def trained(folder: str) -> tuple[dict[str, Any], float]:
        (tmp_path / folder).mkdir(exist_ok=True)
        entry = train(compose(*tiny, *own, folder=tmp_path / folder))
        last = torch.load(tmp_path / folder / "checkpoints" / "last.ckpt", weights_only=True)
        return entry["metrics"], last["optimizer_states"][0]["param_groups"][0]["lr"]

    Stop.at("epoch start", 2)
    with pytest.raises(SystemExit, match="stopped by the test"):
        trained("run")
    stopped, whole = trained("run"), trained("whole")
    assert stopped == whole
    assert whole[1] < 0.1


SETTINGS = {
    "dropout, adam and a schedule": [
        "model=cnn", "model.widths=[8]", "model.dropout=0.3", "optimizer=adam",
        "optimizer.lr=0.003", "scheduler=one_cycle",
    ],
    "momentum and clipping": ["optimizer.momentum=0.9", "trainer.gradient_clip_val=0.5"],
    "one image after another": ["data.loader=dataloader", "trainer.log_every_n_steps=1"],
    "random transforms": [
        "data.loader=dataloader", "trainer.log_every_n_steps=1",
        "data.transform={_target_:torchvision.transforms.Compose,transforms:["
        "{_target_:torchvision.transforms.RandomRotation,degrees:20},"
        "{_target_:torchvision.transforms.ToTensor}]}",
        "data.eval_transform={_target_:torchvision.transforms.ToTensor}",
    ],
    "a schedule by a metric": [
        "scheduler=plateau", "scheduler.patience=0", "scheduler.mode=min", "optimizer.lr=2",
    ],
    "a schedule of epochs": ["scheduler=exponential", "scheduler.frequency=2"],
    "groups of parameters": [
        "parameter_groups=[{pattern:network.layers.1.*,frozen:true},{pattern:'*.bias',lr_scale:2}]",
        "scheduler=warmup_cosine", "+trainer.limit_train_batches=7",
    ],
    "bfloat16": ["+trainer.precision=bf16-mixed"],
}  # fmt: skip


@pytest.mark.long
@pytest.mark.parametrize("setting", SETTINGS)
def test_so_it_does_with_other_settings(run, tmp_path, unstopped, setting):
    overrides = [*SETTINGS[setting], STOP]
    Stop.at("second block", 2)
    with pytest.raises(SystemExit, match="stopped by the test"):
        run("run", *overrides)
    assert run("run", *overrides)["timing"]["resumed"] == 1
    assert_same(tmp_path / "run", unstopped(*overrides))


@pytest.mark.long
@pytest.mark.parametrize(("hook", "epoch"), [("fourth block", 2), ("epoch start", 3)])
@pytest.mark.parametrize("scheduler", ["none", "one_cycle"])
def test_a_run_goes_on_within_an_epoch_from_its_latest_validation(
    run, tmp_path, unstopped, hook, epoch, scheduler
):
    overrides = ["data.steps_per_execution=2", "+trainer.val_check_interval=4"]
    overrides += [STOP, f"scheduler={scheduler}"]
    Stop.at(hook, epoch)
    with pytest.raises(SystemExit, match="stopped by the test"):
        run("run", *overrides)
    last = torch.load(tmp_path / "run" / "checkpoints" / "last.ckpt", weights_only=True)
    assert last["global_step"] == epoch * 10 + {2: 4, 3: -2}[epoch]
    assert run("run", *overrides)["timing"]["resumed"] == 1
    assert_same(tmp_path / "run", unstopped(*overrides))


@pytest.fixture(scope="module")
def stopped_once(tmp_path_factory, tiny):
    folder = tmp_path_factory.mktemp("stopped") / "run"
    folder.mkdir()
    Stop.at("second block", 2)
    with pytest.raises(SystemExit, match="stopped by the test"):
        train(compose(*tiny, *SLOW, STOP, folder=folder))
    return folder


@pytest.fixture
def stopped(stopped_once, tmp_path):
    """A run that was stopped in its third epoch of four."""
    return Path(shutil.copytree(stopped_once, tmp_path / "run"))


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1000])


def test_a_damaged_checkpoint_is_named_and_an_older_one_taken(run, stopped, unstopped, caplog):
    cut(stopped / "checkpoints" / "last.ckpt")
    assert run("run", STOP)["timing"]["resumed"] == 1
    assert "last.ckpt: cannot go on from it" in caplog.text
    assert_same(stopped, unstopped(STOP))


def test_without_a_whole_checkpoint_a_run_starts_over(run, stopped, unstopped):
    cut(stopped / "checkpoints" / "last.ckpt")
    cut(stopped / "checkpoints" / "best.ckpt")
    before = {path.name: path.read_bytes() for path in (stopped / "checkpoints").iterdir()}
    assert run("run", STOP)["timing"]["resumed"] == 0
    assert_same(stopped, unstopped(STOP))
    aside = (stopped / "checkpoints").glob("*.ckpt.unreadable")
    assert {path.stem: path.read_bytes() for path in aside} == before


@pytest.mark.long
@pytest.mark.parametrize("content", ["", '{"status": "run', "[]"])
def test_a_damaged_record_is_kept_aside_and_its_run_gone_on_with(
    run, stopped, unstopped, caplog, content
):
    (stopped / "run.json").write_text(content)
    assert run("run", STOP)["timing"]["resumed"] == 1
    assert (stopped / "run.json.unreadable").read_text() == content
    assert "it is now run.json.unreadable" in caplog.text
    assert_same(stopped, unstopped(STOP))


def test_a_record_changed_by_hand_is_kept_aside_too(run, stopped, unstopped, caplog):
    record.write(stopped, record.read(stopped) | {"provenance": None})
    assert run("run", STOP)["timing"]["resumed"] == 1
    assert "run.json, got one whose provenance is null instead of a mapping" in caplog.text
    assert (stopped / "run.json.unreadable").exists()
    assert_same(stopped, unstopped(STOP))


def test_a_run_of_a_status_of_a_later_release_is_refused_and_kept(run, stopped):
    record.write(stopped, record.read(stopped) | {"status": "pruned"})
    before = everything(stopped)
    with pytest.raises(ValueError, match=r"a run of status pruned, which .*overwrite=true"):
        run("run", STOP)
    assert everything(stopped) == before


def test_a_damaged_record_does_not_hide_that_the_run_is_another_one(run, stopped):
    (stopped / "run.json").write_text("")
    with pytest.raises(ValueError, match=r"optimizer\.lr: 0\.02 -> 0\.03"):
        run("run", STOP, "optimizer.lr=0.03")


def everything(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path): path.read_bytes() for path in files if path.name != ".lock"}


def test_a_stopped_run_of_another_configuration_is_refused_and_kept(run, stopped):
    before = everything(stopped)
    with pytest.raises(ValueError, match=r"batch_size: 16 -> 8.*name=…, or.*overwrite=true"):
        run("run", STOP, "data.batch_size=8")
    assert everything(stopped) == before


def test_a_mistake_in_overwriting_a_stopped_run_leaves_it_as_it_was(run, stopped):
    before = everything(stopped)
    with pytest.raises(ValueError, match=r"optimizer\.lr"):
        run("run", STOP, "optimizer.lr=-1", "overwrite=true")
    assert everything(stopped) == before


def test_a_run_of_other_package_versions_is_refused_and_kept(run, stopped):
    entry = record.read(stopped)
    entry["provenance"]["versions"]["torch"] = "1.13.1+cpu"
    record.write(stopped, entry)
    before = everything(stopped)
    with pytest.raises(ValueError, match=r"other versions \(torch: 1\.13 -> .*overwrite=true"):
        run("run", STOP)
    assert everything(stopped) == before


def test_a_patch_release_matters_to_no_run_but_is_told(run, stopped):
    entry = record.read(stopped)
    old = ".".join([*entry["provenance"]["versions"]["torch"].split(".")[:2], "99"])
    entry["provenance"]["versions"]["torch"] = old
    record.write(stopped, entry)
    provenance = run("run", STOP)["provenance"]
    assert [each["versions"]["torch"] for each in provenance["earlier"]] == [old]


def test_a_stopped_run_can_be_moved(run, stopped, tmp_path, unstopped):
    stopped.rename(tmp_path / "elsewhere")
    assert run("elsewhere", STOP)["timing"]["resumed"] == 1
    assert_same(tmp_path / "elsewhere", unstopped(STOP))


def test_curves_are_whole_even_if_the_clock_jumps_back(run, stopped, unstopped, monkeypatch):
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() - 1e6)
    entry = run("run", STOP)
    assert entry["timing"]["seconds"] > 0
    assert_same(stopped, unstopped(STOP))


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "csv" / "metrics.csv").open(newline="") as file:
        return [
            {name: value for name, value in row.items() if value and "timing" not in name}
            for row in csv.DictReader(file)
        ]


@pytest.mark.long
def test_the_rows_of_a_csv_logger_go_on_too(run, tmp_path, unstopped):
    overrides = [STOP, "logger=[tensorboard,csv]"]
    Stop.at("second block", 2)
    with pytest.raises(SystemExit, match="stopped by the test"):
        run("run", *overrides)
    run("run", *overrides)
    assert rows(tmp_path / "run") == rows(unstopped(*overrides))


def test_a_run_stopped_before_its_record_said_so_is_finished_once(
    run, tmp_path, unstopped, monkeypatch
):
    log_result = runlab.train.log_result

    def log_and_stop(*arguments: Any) -> None:
        log_result(*arguments)
        raise SystemExit("stopped by the test")

    with monkeypatch.context() as patched:
        patched.setattr("runlab.train.log_result", log_and_stop)
        with pytest.raises(SystemExit, match="stopped by the test"):
            run("run", STOP)
    run("run", STOP)
    assert_same(tmp_path / "run", unstopped(STOP))


@pytest.mark.long
@pytest.mark.parametrize(
    "overrides",
    [
        ["loss=mse_logits", "optimizer.lr=1e6"],
        [
            "+callback.early._target_=lightning.pytorch.callbacks.EarlyStopping",
            "+callback.early.monitor=val/accuracy",
            "+callback.early.mode=max",
            "+callback.early.min_delta=1",
            "+callback.early.patience=1",
        ],
    ],
    ids=["diverged", "stopped early"],
)
def test_a_run_that_had_ended_early_is_not_trained_further(run, tmp_path, unstopped, overrides):
    reference = unstopped(*overrides, STOP)
    epochs = record.read(reference)["metrics"]["epochs"]
    assert epochs < EPOCHS
    Stop.at("train end", epochs)
    with pytest.raises(SystemExit, match="stopped by the test"):
        run("run", *overrides, STOP)
    assert run("run", *overrides, STOP)["timing"]["resumed"] == 1
    assert_same(tmp_path / "run", reference)


class Full(L.Callback):
    """Has the next write to some files of a run meet a full disk, once."""

    files: tuple[str, ...] = ()

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)

    def on_train_epoch_start(self, trainer, pl_module):
        if trainer.current_epoch == 1:
            for name in Full.files:
                path = self.folder / name
                partial = path.with_name(f".{path.name}.{os.getpid()}{atomic.PARTIAL}")
                partial.symlink_to("/dev/full")
            Full.files = ()


FULL = [
    "+callback.full._target_=tests.runs.test_resume.Full",
    "+callback.full.folder=${run.folder}",
]


@pytest.mark.long
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize("name", ["checkpoints/last.ckpt", "checkpoints/best.ckpt", "run.json"])
def test_a_full_disk_interrupts_a_run(run, tmp_path, unstopped, name):
    Full.files = (name,)
    with pytest.raises(OSError, match="No space left on device") as raised:
        run("run", *FULL)
    assert str(raised.value.filename).endswith(name)
    entry = record.read(tmp_path / "run")
    assert entry["status"] == "interrupted"
    assert "No space left on device" in entry["error"]
    assert run("run", *FULL)["timing"]["resumed"] == 1
    assert not (tmp_path / "run" / "traceback.txt").exists()
    assert_same(tmp_path / "run", unstopped(*FULL))


def test_a_place_that_cannot_be_written_is_named(run, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "checkpoints").write_text("no folder")
    with pytest.raises(OSError, match="checkpoints"):
        run("run")
    assert "checkpoints" in record.read(tmp_path / "run")["error"]


def test_what_a_killed_writer_left_is_removed(run, stopped):
    left = stopped / "checkpoints" / f".last.ckpt.1{atomic.PARTIAL}"
    left.write_bytes(b"half")
    run("run", STOP)
    assert not left.exists()


@pytest.fixture(scope="module")
def failed_once(tmp_path_factory, tiny):
    folder = tmp_path_factory.mktemp("failed") / "run"
    folder.mkdir()
    with pytest.MonkeyPatch.context() as broken:
        broken.setattr("runlab.config.run_name.is_multirun", lambda: True)
        broken.setattr("runlab.train.score", fail)
        with pytest.raises(RuntimeError, match="no luck"):
            train(compose(*tiny, *SLOW, folder=folder))
    return folder


@pytest.fixture
def failed(failed_once, tmp_path, monkeypatch):
    """A run that failed in a multirun."""
    monkeypatch.setattr("runlab.config.run_name.is_multirun", lambda: True)
    return Path(shutil.copytree(failed_once, tmp_path / "run"))


def fail(*arguments: Any) -> None:
    raise RuntimeError("no luck")


def test_a_sweep_leaves_alone_what_failed_in_it(run, failed):
    before = everything(failed)
    with pytest.raises(ValueError, match=r"failed before: no luck \(retry=failed trains it again"):
        run("run")
    assert everything(failed) == before


@pytest.mark.long
def test_on_request_what_failed_goes_on_from_its_checkpoint(run, failed, unstopped):
    entry = run("run", "retry=failed")
    assert (entry["timing"]["resumed"], entry["error"]) == (1, None)
    assert not (failed / "traceback.txt").exists()
    assert_same(failed, unstopped())


def test_what_failed_before_its_first_checkpoint_is_trained_from_its_start(run, failed, unstopped):
    shutil.rmtree(failed / "checkpoints")
    assert run("run", "retry=failed")["timing"]["resumed"] == 0
    assert_same(failed, unstopped())


@pytest.mark.long
@pytest.mark.parametrize(
    ("changed", "said"), [("versions", "of other versions"), ("data", "expected the data of")]
)
def test_what_failed_on_something_else_starts_over(run, failed, unstopped, caplog, changed, said):
    entry = record.read(failed)
    entry["provenance"] |= (
        {"versions": {"torch": "1.0"}} if changed == "versions" else {"data": "0"}
    )
    record.write(failed, entry)
    assert run("run", "retry=failed")["timing"]["resumed"] == 0
    assert said in caplog.text
    assert_same(failed, unstopped())


def test_what_failed_with_another_configuration_is_kept_if_it_had_trained(run, failed):
    before = everything(failed)
    with pytest.raises(ValueError, match=r"max_epochs: 4 -> 1.*overwrite=true"):
        run("run", "trainer.max_epochs=1")
    assert everything(failed) == before
    record.write(failed, record.read(failed) | {"metrics": {}})
    assert run("run", "trainer.max_epochs=1")["status"] == "finished"


def test_fail_fast_ends_the_process(run, failed):
    with pytest.raises(SystemExit, match=r"run: failed before: no luck.*fail_fast"):
        run("run", "fail_fast=true")


class Look(L.Callback):
    """Sees, at the start of an epoch, how far the curves that a kill would leave go."""

    seen: dict[int, tuple[int, int]]

    def on_train_epoch_start(self, trainer, pl_module):
        if trainer.current_epoch > 0:
            folder = Path(trainer.default_root_dir)
            event_step, _ = curves(folder)["val/accuracy"][-1]
            row_step = max(int(row["step"]) for row in rows(folder) if "val/accuracy" in row)
            Look.seen[trainer.current_epoch] = (event_step, row_step)


def test_curves_are_on_the_disk_as_far_as_the_checkpoint_goes(run):
    Look.seen = {}
    run("run", "+callback.look._target_=tests.runs.test_resume.Look", "logger=[tensorboard,csv]")
    assert Look.seen == {epoch: (10 * epoch, 10 * epoch) for epoch in range(1, EPOCHS)}


class SavesWithin(L.Callback):
    """Saves a checkpoint after each epoch's second block, and sees how far the curve goes then."""

    blocks_suffice = True

    seen: list[int]

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        if batch_idx == 1:
            folder = Path(trainer.default_root_dir)
            trainer.save_checkpoint(folder / "within.ckpt")
            SavesWithin.seen.append(curves(folder)["train/loss"][-1][0])


def test_a_checkpoint_within_an_epoch_takes_its_curves_along(run):
    SavesWithin.seen = []
    run("run", "+callback.saves._target_=tests.runs.test_resume.SavesWithin")
    assert SavesWithin.seen == [10 * epoch + 8 for epoch in range(EPOCHS)]


def test_workers_that_die_with_the_process_do_not_make_a_stopped_run_a_failed_one(
    run, tmp_path, monkeypatch
):
    def stop(*arguments: Any) -> None:
        try:
            raise SystemExit(143)
        finally:
            raise RuntimeError("DataLoader worker is killed by signal: Terminated")

    monkeypatch.setattr("runlab.train.score", stop)
    with pytest.raises(SystemExit) as raised:
        run("run")
    assert raised.value.code == 143
    assert record.read(tmp_path / "run")["status"] == "interrupted"


class PreemptedError(Exception):
    """What a scheduler's library raises in the main thread where no requeue is left."""


def preempt(number: int, frame: object) -> None:
    raise PreemptedError("no requeue is left")


@pytest.fixture
def of_scheduler():
    """A handler that was there before ours, as in a process that a scheduler's library started."""
    before = signal.signal(signal.SIGUSR2, preempt)
    yield
    assert signal.getsignal(signal.SIGUSR2) is preempt
    signal.signal(signal.SIGUSR2, before)


class Announce(L.Callback):
    """Raises a signal in the third epoch, the first time."""

    blocks_suffice = True

    def __init__(self, number: int) -> None:
        self.number = number

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        if trainer.current_epoch == 2 and not (Path(trainer.logger.log_dir) / "sent").exists():
            (Path(trainer.logger.log_dir) / "sent").touch()
            signal.raise_signal(self.number)


def announced_by(number: int) -> list[str]:
    announce = "+callback.announce"
    return [f"{announce}._target_=tests.runs.test_resume.Announce", f"{announce}.number={number}"]


@pytest.mark.usefixtures("of_scheduler")
def test_what_a_scheduler_raises_interrupts_a_run(run, tmp_path, unstopped):
    announced = announced_by(signal.SIGUSR2)
    with pytest.raises(PreemptedError):
        run("run", *announced)
    entry = record.read(tmp_path / "run")
    assert (entry["status"], entry["error"]) == ("interrupted", "no requeue is left")
    entry = run("run", *announced)
    assert (entry["status"], entry["timing"]["resumed"]) == ("finished", 1)
    assert (entry["error"], entry["metrics"]) == (None, record.read(unstopped())["metrics"])


@pytest.mark.long
@pytest.mark.parametrize("name", ["SIGTERM", "SIGUSR1", "SIGUSR2"])
def test_a_request_to_end_interrupts_a_run_in_any_process(run, tmp_path, name):
    number = getattr(signal, name)
    before = signal.getsignal(number)
    with pytest.raises(SystemExit):
        run("run", *announced_by(number))
    entry = record.read(tmp_path / "run")
    assert (entry["status"], entry["metrics"]["epochs"]) == ("interrupted", 2)
    assert signal.getsignal(number) is before


@pytest.mark.usefixtures("of_scheduler")
def test_an_error_after_a_signal_that_ended_nothing_is_the_runs_own(run, tmp_path, monkeypatch):
    signal.signal(signal.SIGUSR1, lambda number, frame: None)
    try:
        monkeypatch.setattr("runlab.train.score", fail)
        with pytest.raises(RuntimeError, match="no luck"):
            run("run", *announced_by(signal.SIGUSR1))
    finally:
        signal.signal(signal.SIGUSR1, signal.SIG_DFL)
    assert record.read(tmp_path / "run")["status"] == "failed"


@pytest.mark.filterwarnings("ignore:Checkpoint directory .* is not empty")
def test_checkpoints_on_another_disk_are_replaced_there_and_nothing_else_is(run, tmp_path):
    disk, folder = tmp_path / "disk", tmp_path / "run"
    disk.mkdir()
    folder.mkdir()
    (folder / "checkpoints").symlink_to(disk)
    run("run", "trainer.max_epochs=1")
    (disk / "mine.txt").write_text("not the run's")
    (disk / "older.ckpt").touch()
    assert run("run", "trainer.max_epochs=2", "overwrite=true")["timing"]["resumed"] == 0
    assert (folder / "checkpoints").is_symlink()
    assert {path.name for path in disk.iterdir()} == {"best.ckpt", "last.ckpt", "mine.txt"}


def test_a_link_to_a_disk_that_is_not_there_is_refused_at_once(run, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "checkpoints").symlink_to(tmp_path / "gone")
    with pytest.raises(
        ValueError, match=r"expected a folder at .*checkpoints, got a link to .*gone"
    ):
        run("run")
    assert not (tmp_path / "run" / "run.json").exists()


def test_a_run_stopped_while_it_was_being_replaced_starts_over(run, stopped, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr("runlab.runs.lifecycle.clear", fail)
        with pytest.raises(RuntimeError, match="no luck"):
            run("run", STOP, "overwrite=true")
    assert record.read(stopped)["status"] == "interrupted"
    assert run("run", STOP)["timing"]["resumed"] == 0


def test_a_resumed_run_remembers_its_data_at_once(run, stopped, monkeypatch):
    checksum = record.read(stopped)["provenance"]["data"]
    with monkeypatch.context() as patched:
        patched.setattr("runlab.train.fit_and_test", fail)
        with pytest.raises(RuntimeError, match="no luck"):
            run("run", STOP)
    assert record.read(stopped)["provenance"]["data"] == checksum


def test_too_little_memory_costs_no_checkpoint(run, stopped, monkeypatch):
    before = everything(stopped)

    def load(*content: Any, **options: Any) -> None:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate")

    with monkeypatch.context() as patched:
        patched.setattr("torch.load", load)
        with pytest.raises(OSError, match="too little memory") as raised:
            run("run", STOP)
    assert raised.value.errno == errno.ENOMEM
    assert everything(stopped) == before


def test_a_disk_that_cannot_be_read_now_costs_no_checkpoint(run, stopped, monkeypatch):
    before = everything(stopped)

    def unreadable(path: Path) -> None:
        raise OSError(errno.EIO, "Input/output error", "last.ckpt")

    with monkeypatch.context() as patched:
        patched.setattr("pathlib.Path.read_bytes", unreadable)
        with pytest.raises(OSError, match="Input/output error"):
            run("run", STOP)
    assert everything(stopped) == before
