"""A run of a stack that takes a block alone beside it, and what that brings to light."""

from itertools import count

import pytest
import torch
from torch import Tensor, nn

from losslab.losses import CrossEntropy
from runlab.module import StackDifferenceError
from runlab.runs import record
from runlab.stacks import scheduler, watch
from runlab.stacks.alone import Steps
from tests.stacks.test_modules import Mixup
from tests.stacks.test_stack import DOUBLE, ONE_EPOCH, PAIR, SMALL_CNN, assert_shared

HERE = "tests.stacks.test_watch"
OFTEN = {f"run{i}": [f"seed={max(i - 1, 0)}", "optimizer.lr=0.1"] for i in range(5)}
"""The first two have the same seed."""

calls = count(1)  # whose number cannot be looked at


class OfAGlobal(CrossEntropy):
    """Another loss from some call on, which a module's global counts."""

    def forward(self, outputs: Tensor, labels: Tensor) -> Tensor:
        return super().forward(outputs, labels) * (1 if next(calls) < 12 else 3)


class OfItsClass(CrossEntropy):
    calls = count(1)

    def forward(self, outputs: Tensor, labels: Tensor) -> Tensor:
        return super().forward(outputs, labels) * (1 if next(OfItsClass.calls) < 12 else 3)


class Dropping(nn.Module):
    """Draws at random, and does another thing from some call on."""

    def __init__(self, shape: list[int], num_classes: int) -> None:
        super().__init__()
        self.linear, self.dropout = nn.Linear(784, num_classes), nn.Dropout(0.2)

    def forward(self, images: Tensor) -> Tensor:
        return self.linear(self.dropout(images.flatten(1))) * (1 if next(calls) < 12 else 3)


class Mixing(Mixup):
    """A module that draws, and does another thing from some call on."""

    def loss_step(self, batch, drawn):
        loss, outputs = super().loss_step(batch, drawn)
        return loss * (1 if next(calls) < 12 else 3), outputs


class Features:
    """Random ones, drawn when it is made."""

    def __init__(self) -> None:
        self.weights = torch.randn(784, 32)


class Lying(nn.Module):
    """Says that it holds the same in all runs, though the seed decides."""

    stackable = True

    def __init__(self, shape: list[int], num_classes: int) -> None:
        super().__init__()
        self.features, self.output = Features(), nn.Linear(32, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        return self.output((images.flatten(1) @ self.features.weights).sin())


FAULTS = {
    "a global": [f"loss._target_={HERE}.OfAGlobal"],
    "an attribute of the class": [f"loss._target_={HERE}.OfItsClass"],
    "a global, in a module of one's own": [f"module._target_={HERE}.Mixing"],
    "a global, beside random draws": ["model=linear", f"model._target_={HERE}.Dropping"],
    "another value in each run": ["model=linear", f"model._target_={HERE}.Lying"],
}


@pytest.fixture(autouse=True)
def _uncounted(monkeypatch):
    monkeypatch.setattr(f"{HERE}.calls", count(1))
    monkeypatch.setattr(OfItsClass, "calls", count(1))


@pytest.mark.long
@pytest.mark.parametrize("fault", FAULTS)
def test_a_stack_that_computes_something_else_stops_and_leaves_no_run_to_go_on_from(
    stack, tmp_path, fault
):
    with pytest.raises(StackDifferenceError) as raised:
        stack(OFTEN, ONE_EPOCH, *FAULTS[fault])
    said = str(raised.value)
    named = said.partition(":")[0]
    assert named in OFTEN
    assert named != "run0"
    assert ("times what rounding explains" in said) == (fault == "another value in each run")
    assert ("got others the second time" in said) == (fault != "another value in each run")
    assert said.endswith("hydra/launcher=basic overwrite=true")
    for name in OFTEN:
        entry = record.read(tmp_path / name)
        assert (entry["status"], entry["error"]) == ("failed", said)
        assert entry["from_start"] is True
        assert not list((tmp_path / name).glob("checkpoints/*"))


@pytest.mark.long
def test_a_difference_later_on_is_found_too_and_the_runs_start_anew(
    stack, run, alone, tmp_path, monkeypatch
):
    monkeypatch.setattr(scheduler, "WATCHED", 1.0)
    later = ["trainer.max_epochs=3", f"loss._target_={HERE}.OfAGlobal"]
    monkeypatch.setattr(f"{HERE}.calls", count(-27))
    with pytest.raises(StackDifferenceError):
        stack(PAIR, DOUBLE, *later)
    assert (tmp_path / "first" / "checkpoints" / "last.ckpt").exists()
    monkeypatch.setattr(f"{HERE}.calls", count(-10_000))
    entry = run("first", DOUBLE, *later, *PAIR["first"], "retry=failed")
    assert "from_start" not in entry
    assert entry["timing"]["resumed"] == 0
    assert entry["metrics"] == record.read(alone(DOUBLE, *later[:1], *PAIR["first"]))["metrics"]


CHAOTIC = {f"{lr}": [f"optimizer.lr={lr}", f"seed={i}"] for i, lr in enumerate((0.01, 1, 10))}


@pytest.mark.long
@pytest.mark.parametrize(
    "common",
    [
        ["loss=mse", "optimizer.momentum=0.9"],
        ["loss=cross_entropy", "optimizer=adam", "+trainer.precision=bf16-mixed"],
        ["loss=mse_logits", *SMALL_CNN, "trainer.gradient_clip_val=0.5", "scheduler=one_cycle"],
        ["loss=mse", *SMALL_CNN, "model.dropout=0.5", "optimizer=adamw"],
        ["+trainer.precision=bf16-true"],
    ],
)
def test_rounding_is_no_difference_at_any_rate(stack, monkeypatch, common):
    monkeypatch.setattr(scheduler, "WATCHED", 1.0)
    seen = []
    measure = watch.times_rounding

    def noted(stacked, alone, near, size):
        times = measure(stacked, alone, near, size)
        seen.append(0.0 if near[0] is alone else times)
        return times

    monkeypatch.setattr(watch, "times_rounding", noted)
    assert_shared(stack(CHAOTIC, *common))
    assert len(seen) >= 2
    assert max(seen) < watch.LIMIT / 5


@pytest.mark.long
def test_watching_moves_no_random_generator_and_changes_no_number(stack, monkeypatch):
    dropout = [*SMALL_CNN, "model.dropout=0.5", ONE_EPOCH]
    found = []
    for part, name in ((1.0, "watched"), (0.0, "unwatched")):
        monkeypatch.setattr(scheduler, "WATCHED", part)
        entries = stack({f"{name}{k}": own for k, own in PAIR.items()}, *dropout)
        assert_shared(entries, 2)
        found.append([entry["metrics"] for entry in entries])
    assert found[0] == found[1]


def steps(*losses: float, weights: float = 1.0) -> Steps:
    return Steps(torch.tensor(losses), torch.full((4,), weights), {"count": torch.tensor(3)})


@pytest.mark.parametrize(
    ("stacked", "alone", "near", "least", "most"),
    [
        (steps(1.0, 2.0), steps(1.0, 2.0), steps(1.0, 2.0), 0, 0),
        (steps(1.0, 2.0, weights=1.1), steps(1.0, 2.0), steps(1.0, 2.0, weights=1.01), 9, 11),
        (steps(1.0, 2.2), steps(1.0, 2.0), steps(1.0, 2.01), 19, 21),
        (steps(1.0, torch.nan), steps(1.0, torch.nan), steps(1.0, 2.0), 0, 0),  # both diverge
        (steps(2.0, 2.0), steps(1.0, torch.nan), steps(1.01, 2.0), 99, 101),  # before they do
        (steps(1.0, 9.0), steps(1.0, 2.0), steps(1.0, 3.0), 0, 0),  # nor is the neighbour there
        (steps(1.0, torch.nan), steps(1.0, 2.0), steps(1.0, 2.0), torch.inf, torch.inf),
        (
            steps(1.0, 2.0, weights=torch.inf),
            steps(1.0, 2.0),
            steps(1.0, 2.0),
            torch.inf,
            torch.inf,
        ),
    ],
)
def test_a_difference_is_measured_by_what_rounding_does(stacked, alone, near, least, most):
    assert least <= watch.times_rounding(stacked, alone, [near], 1e-7) <= most


@pytest.mark.long
def test_in_several_processes_a_difference_ends_the_command(tmp_path, commands, tiny):
    grid = ["-m", *tiny, "seed=0,1,2,3,4,5,6,7,8,9", "hydra/launcher=stacked",
            "hydra.launcher.processes=2", "logger=none", "trainer.max_epochs=1",
            "callback=[checkpoint,stop_on_divergence]", "comparison.outputs=[]",
            "comparison.sections=[]", "name=x", f"loss._target_={HERE}.OfAGlobal"]  # fmt: skip
    done = commands.run(tmp_path, "scripts/train.py", *grid)
    assert done.returncode == 1, done.stderr
    assert "got others the second time" in done.stderr
    assert "Traceback" not in done.stderr
    entries = [record.read(path.parent) for path in (tmp_path / "logs" / "x").glob("*/run.json")]
    assert len(entries) == 10
    assert not any(entry["status"] in record.ENDED for entry in entries)
    assert sum(entry.get("from_start", False) for entry in entries) >= 5
