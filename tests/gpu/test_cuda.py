"""What CUDA alone can show: python -m pytest -m gpu. The data set is the tiny one."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch

from runlab.runs import record
from runlab.stacks import train_together
from runlab.train import train
from tests.compose import compose
from tests.runs.test_resume import STOP, Stop, assert_same
from tests.stacks.test_stack import (
    ADAPTIVE,
    CLIPPED,
    DOUBLE,
    RUNS,
    SMALL_CNN,
    assert_equal,
    assert_shared,
)

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="CUDA finds no GPU here"),
]

ADAM = [*SMALL_CNN, "model.dropout=0.2", "optimizer=adam", "optimizer.lr=0.003",
        "scheduler=one_cycle", "trainer.gradient_clip_val=1.0"]  # fmt: skip
SETTINGS = {
    "default": [],
    "adam, clipped, with a schedule and dropout": ADAM,
    "16 bits, whose loss scale is a state too": ["+trainer.precision=16-mixed"],
    "pinned batches": ["data.loader=dataloader"],
}


@pytest.fixture
def run(tmp_path, tiny) -> Callable[..., dict[str, Any] | None]:
    """Trains on the GPU with these overrides, in a folder of that name."""

    def train_in(folder: str, *overrides: str) -> dict[str, Any] | None:
        (tmp_path / folder).mkdir(exist_ok=True)
        return train(compose(*tiny, "trainer=gpu", *overrides, folder=tmp_path / folder))

    return train_in


@pytest.fixture
def stack(run) -> Callable[..., list[Any]]:
    """Trains runs together on the GPU."""

    def train_all(
        runs: dict[str, list[str]], *common: str, backend: str | None = None
    ) -> list[Any]:
        return train_together(
            [partial(run, name, *common, *runs[name]) for name in runs], 50, backend
        )

    return train_all


def state(folder: Path) -> dict[str, torch.Tensor]:
    return torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]


@pytest.mark.parametrize("setting", SETTINGS)
def test_the_same_run_twice_is_the_same_bit_for_bit(run, tmp_path, setting):
    first, second = (run(name, *SETTINGS[setting]) for name in ("first", "second"))
    assert first["provenance"]["hardware"]["gpu"] == torch.cuda.get_device_name()
    assert first["metrics"] == second["metrics"]
    weights = state(tmp_path / "first"), state(tmp_path / "second")
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize(("hook", "epoch"), [("second block", 2), ("validation end", 1)])
def test_a_stopped_run_ends_as_one_that_was_not(run, tmp_path, setting, hook, epoch):
    overrides = [*SETTINGS[setting], STOP, "trainer.max_epochs=4"]
    run("unstopped", *overrides)
    Stop.at(hook, epoch)
    with pytest.raises(SystemExit, match="stopped by the test"):
        run("stopped", *overrides)
    assert run("stopped", *overrides)["timing"]["resumed"] == 1
    assert_same(tmp_path / "stopped", tmp_path / "unstopped")


def test_a_stopped_stack_ends_as_one_that_was_not(stack, tmp_path):
    common = [STOP, "trainer.max_epochs=3"]
    assert_shared(stack({f"{name}_unstopped": own for name, own in RUNS.items()}, *common))
    Stop.at("second block", 1)
    with pytest.raises(SystemExit):
        stack(RUNS, *common)
    resumed = stack(RUNS, *common)
    assert_shared(resumed)
    assert [entry["timing"]["resumed"] for entry in resumed] == [1, 1, 1]
    for name in RUNS:
        stopped, unstopped = (record.read(tmp_path / each) for each in (name, f"{name}_unstopped"))
        assert stopped["metrics"] == pytest.approx(unstopped["metrics"], rel=1e-3, abs=1e-4)


@pytest.mark.parametrize("backend", [None, "cudagraphs"])
@pytest.mark.parametrize(
    ("runs", "common"),
    [
        (RUNS, []),
        (
            RUNS,
            [
                "optimizer.momentum=0.9",
                "scheduler=cosine",
                *CLIPPED,
                "loss=mse",
            ],
        ),
        (ADAPTIVE, [*SMALL_CNN, "optimizer=adam", "scheduler=one_cycle"]),
    ],
)
def test_in_double_precision_a_stack_is_its_runs_alone(stack, run, tmp_path, runs, common, backend):
    common = [*common, DOUBLE]
    assert_shared(stack(runs, *common, backend=backend))
    for name, own in runs.items():
        run(f"{name}_alone", *common, *own)
        assert_equal(tmp_path / name, tmp_path / f"{name}_alone", tolerance=1e-8)


def test_in_single_precision_a_stack_is_nearly_its_runs_alone(stack, run, tmp_path):
    assert_shared(stack(RUNS))
    for name, own in RUNS.items():
        alone = run(f"{name}_alone", *own)["metrics"]
        together = record.read(tmp_path / name)["metrics"]
        assert together == pytest.approx(alone, rel=1e-3, abs=1e-4)


class ForbidsSyncs(L.Callback):
    """From an epoch's first block until its validation, whatever waits for the GPU raises."""

    blocks: int

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if trainer.current_epoch > 0:  # in the first one, libraries are set up
            torch.cuda.set_sync_debug_mode("error")
            ForbidsSyncs.blocks += 1

    def on_validation_start(self, trainer, pl_module):
        torch.cuda.set_sync_debug_mode("default")

    def on_exception(self, trainer, pl_module, exception):
        torch.cuda.set_sync_debug_mode("default")


FORBID = "+callback.forbids_syncs._target_=tests.gpu.test_cuda.ForbidsSyncs"


@pytest.fixture
def counted():
    ForbidsSyncs.blocks = 0
    yield ForbidsSyncs
    torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("overrides", [[], ADAM, ["optimizer.momentum=0.9", "scheduler=cosine"]])
def test_a_run_does_not_wait_for_the_gpu_within_an_epoch(run, counted, overrides):
    run("run", FORBID, "trainer.max_epochs=3", *overrides)
    assert counted.blocks == 2 * 3


@pytest.mark.parametrize("overrides", [[], ADAM, ["optimizer.momentum=0.9", "scheduler=cosine"]])
def test_nor_does_a_stack(stack, counted, overrides, monkeypatch):
    monkeypatch.setattr("runlab.stacks.scheduler.WATCHED", 0)  # which waits, now and then
    assert_shared(stack(RUNS, *overrides, FORBID, "trainer.max_epochs=3"))
    assert counted.blocks == 3 * 2 * 3
