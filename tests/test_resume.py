"""A run that was stopped ends, after the same command again, as one that was not."""

from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from losslab import record
from losslab.train import train
from tests.compose import compose

EPOCHS = 4
# learns slowly enough for the best epoch to be none of the first
SLOW = ["optimizer.lr=0.02", f"trainer.max_epochs={EPOCHS}"]
STOP = "+callback.stop._target_=tests.test_resume.Stop"


class Stop(L.Callback):
    """Ends the process, as far as a test can: at one hook of one epoch, the first time."""

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


def curves(folder: Path) -> dict[str, list[tuple[int, float]]]:
    events = EventAccumulator(str(folder), size_guidance={"scalars": 0})
    events.Reload()
    return {
        tag: [(event.step, event.value) for event in events.Scalars(tag)]
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
    for name in ("best.ckpt", "last.ckpt"):
        a, b = weights(folder, name), weights(reference, name)
        assert all(torch.equal(a[key], b[key]) for key in a)
    assert {path.name for path in (folder / "checkpoints").iterdir()} == {"best.ckpt", "last.ckpt"}


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


SETTINGS = {
    "dropout, adam and a schedule": [
        "model=cnn", "model.dropout=0.3", "optimizer=adam", "optimizer.lr=0.003",
        "scheduler=one_cycle",
    ],
    "momentum and clipping": ["optimizer.momentum=0.9", "gradient_clip=0.5"],
    "one image after another": ["data.loader=dataloader", "trainer.log_every_n_steps=1"],
    "random transforms": [
        "data.loader=dataloader", "trainer.log_every_n_steps=1",
        "data.transform={_target_:torchvision.transforms.Compose,transforms:["
        "{_target_:torchvision.transforms.RandomRotation,degrees:20},"
        "{_target_:torchvision.transforms.ToTensor}]}",
        "data.eval_transform={_target_:torchvision.transforms.ToTensor}",
    ],
    "bfloat16": ["+trainer.precision=bf16-mixed"],
}  # fmt: skip


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize(("hook", "epoch"), [("second block", 2), ("epoch start", 3)])
def test_so_it_does_with_other_settings(run, tmp_path, unstopped, setting, hook, epoch):
    overrides = [*SETTINGS[setting], STOP]
    Stop.at(hook, epoch)
    with pytest.raises(SystemExit, match="stopped by the test"):
        run("run", *overrides)
    assert run("run", *overrides)["timing"]["resumed"] == 1
    assert_same(tmp_path / "run", unstopped(*overrides))


@pytest.mark.parametrize(("hook", "epoch"), [("fourth block", 2), ("epoch start", 3)])
@pytest.mark.parametrize("scheduler", ["none", "one_cycle"])
def test_a_run_goes_on_within_an_epoch_from_its_latest_validation(
    run, tmp_path, unstopped, hook, epoch, scheduler
):
    overrides = ["data.steps_per_execution=2", "+trainer.val_check_interval=2"]
    overrides += [STOP, f"scheduler={scheduler}"]
    Stop.at(hook, epoch)
    with pytest.raises(SystemExit, match="stopped by the test"):
        run("run", *overrides)
    last = torch.load(tmp_path / "run" / "checkpoints" / "last.ckpt", weights_only=True)
    assert last["global_step"] == epoch * 10 + {2: 4, 3: -2}[epoch]
    assert run("run", *overrides)["timing"]["resumed"] == 1
    assert_same(tmp_path / "run", unstopped(*overrides))
