"""Runs that leave a stack, come to it late, or cannot be in one."""

import logging
import random
import threading
import time

import lightning as L
import pytest
import torch
from torch import Tensor, nn
from torch._dynamo import register_backend
from torch.optim import SGD
from torch.optim.lr_scheduler import OneCycleLR

from losslab.losses import MSELogits
from runlab.blocks.lazy_batch import LazyBatch
from runlab.runs import record
from runlab.stacks.stack import Stack
from runlab.stacks.step_request import StepRequest
from tests.runs.test_resume import STOP, Stop
from tests.stacks.test_stack import (
    ADAPTIVE,
    DOUBLE,
    RUNS,
    SMALL_CNN,
    assert_equal,
    assert_shared,
)

HERE = "tests.stacks.test_membership"
NOTE = "not stacked, one run after another: "


def test_a_run_that_diverges_ends_and_its_neighbours_go_on_unchanged(stack, run, tmp_path):
    common = ["loss=mse_logits", "trainer.max_epochs=3", DOUBLE]
    runs = {**RUNS, "exploding": ["optimizer.lr=1e30", "seed=3"]}
    entries = stack(runs, *common)
    assert_shared(entries, 4)
    assert [entry["status"] for entry in entries][3] == "diverged"
    assert entries[3]["metrics"]["epochs"] == 1
    for name in RUNS:
        run("alone", *common, *runs[name], "overwrite=true")
        assert_equal(tmp_path / name, tmp_path / "alone")


class FailLate(L.Callback):
    def on_train_epoch_start(self, trainer, pl_module):
        if trainer.current_epoch == 1:
            raise RuntimeError("no luck")


def test_a_run_whose_callback_raises_fails_and_its_neighbour_goes_on_alone(stack, run, tmp_path):
    failing = f"+callback.late._target_={HERE}.FailLate"
    runs = {"failing": [*ADAPTIVE["first"], failing], "going": ADAPTIVE["second"]}
    error, entry = stack(runs, "optimizer=adam", DOUBLE)
    assert str(error) == "no luck"
    assert record.read(tmp_path / "failing")["status"] == "failed"
    assert entry["timing"]["stack"] == 2
    run("alone", "optimizer=adam", DOUBLE, *ADAPTIVE["second"])
    assert_equal(tmp_path / "going", tmp_path / "alone")


@pytest.mark.parametrize("common", [["optimizer=adamw", "scheduler=one_cycle"],
                                    ["optimizer.momentum=0.9", "scheduler=cosine"]])  # fmt: skip
def test_a_stack_that_was_stopped_goes_on_as_runs_alone_do(stack, run, tmp_path, common):
    common = [*common, DOUBLE, "trainer.max_epochs=3", STOP]
    Stop.at("second block", 1)  # of the first run that comes there
    with pytest.raises(SystemExit):
        stack(ADAPTIVE, *common)
    assert [record.read(tmp_path / name)["status"] for name in ADAPTIVE] == ["interrupted"] * 3
    entries = stack(ADAPTIVE, *common)
    assert_shared(entries)
    assert [entry["timing"]["resumed"] for entry in entries] == [1, 1, 1]
    for name, own in ADAPTIVE.items():
        run_in_two(run, f"{name}_alone", *common, *own)
        assert_equal(tmp_path / name, tmp_path / f"{name}_alone")


def run_in_two(run, folder, *overrides):
    """Stops once: going on, Lightning rounds weights in double precision to single precision."""
    Stop.at("epoch start", 1)
    with pytest.raises(SystemExit):
        run(folder, *overrides)
    run(folder, *overrides)


def test_runs_of_different_progress_are_computed_apart(stack, run, tmp_path):
    common = ["optimizer=adam", DOUBLE, "trainer.max_epochs=3", STOP]
    Stop.at("epoch start", 1)
    with pytest.raises(SystemExit):
        run("first", *common, *ADAPTIVE["first"])
    assert not (tmp_path / "second").exists()
    entries = stack(ADAPTIVE, *common)
    assert [entry["timing"]["stack"] for entry in entries] == [1, 2, 2]
    run_in_two(run, "alone", *common, *ADAPTIVE["first"])
    assert_equal(tmp_path / "first", tmp_path / "alone")


def test_runs_that_differ_in_more_than_numbers_are_computed_apart(stack):
    runs = {
        "a": ["loss=mse"], "b": ["loss=mse", "seed=1"],
        "c": ["loss=cross_entropy"], "d": ["loss=cross_entropy", "seed=1"],
        "e": ["data.batch_size=20"], "f": ["optimizer.momentum=0.5"], "g": ["model=linear"],
    }  # fmt: skip
    assert [entry["timing"]["stack"] for entry in stack(runs)] == [2, 2, 2, 2, 1, 1, 1]


def test_no_more_runs_are_computed_at_once_than_was_asked_for(stack):
    assert [entry["timing"]["stack"] for entry in stack(RUNS, size=2)] == [2, 2, 1]


def test_where_memory_does_not_suffice_fewer_are_computed_at_once(stack, monkeypatch):
    class Tight(Stack):
        def __init__(self, members):
            if len(members) > 2:
                raise torch.OutOfMemoryError
            super().__init__(members)

    monkeypatch.setattr("runlab.stacks.equivalence.Stack", Tight)
    runs = {f"run{seed}": [f"seed={seed}"] for seed in range(4)}
    assert [entry["timing"]["stack"] for entry in stack(runs)] == [2, 2, 2, 2]


def test_no_run_gathers_its_whole_block(stack, monkeypatch):
    def gathered(rows):
        raise MemoryError("a whole block")

    monkeypatch.setattr(LazyBatch, "materialized", property(gathered))
    seen = []
    make = StepRequest.member.fget
    monkeypatch.setattr(
        StepRequest,
        "member",
        property(lambda block: seen.append(type(block.inputs)) or make(block)),
    )
    assert_shared(stack(RUNS))
    assert set(seen) == {LazyBatch}


class Inverts(L.Callback):
    """Writes into what training is about to take."""

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        batch[0][:] = 255 - batch[0]


def test_what_a_callback_writes_into_a_block_is_trained_on(stack, run, tmp_path):
    inverts = f"+callback.inverts._target_={HERE}.Inverts"
    alone = run("alone", DOUBLE, inverts)
    assert alone["metrics"] != run("plain", DOUBLE)["metrics"]
    assert_shared(stack({"a": [], "b": ["seed=1"]}, DOUBLE, inverts), 2)
    assert_equal(tmp_path / "a", tmp_path / "alone")


def test_what_is_compiled_comes_to_the_same(stack, run, tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        assert_shared(stack(RUNS, DOUBLE, backend="aot_eager"))
    assert "not compiled" not in caplog.text
    run("alone", DOUBLE, *RUNS["second"])
    assert_equal(tmp_path / "second", tmp_path / "alone")


def test_blocks_of_any_length_are_compiled_once(stack):
    graphs = []

    def remember(graph, inputs):
        graphs.append(graph)
        return graph.forward

    register_backend(remember, name="remembering")
    assert_shared(stack(RUNS, "data.steps_per_execution=3", backend="remembering"))
    assert len(graphs) == 2  # gradients and descent, of all three runs


def test_what_the_compiler_cannot_take_is_stacked_all_the_same_and_says_why(stack, caplog):
    def refuse(graph, inputs):
        raise RuntimeError("no compiler here")

    register_backend(refuse, name="refusing")
    with caplog.at_level(logging.WARNING):
        assert_shared(stack(RUNS, backend="refusing"))
    [said] = [each.getMessage() for each in caplog.records if "not compiled" in each.getMessage()]
    assert "no compiler here" in said


class Net(nn.Module):
    """Something that a stack has to notice, by its kind."""

    def __init__(self, kind: str = "", **sizes: object) -> None:
        super().__init__()
        self.kind = kind
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(784, 16), nn.ReLU())
        self.norm = nn.BatchNorm1d(16) if kind == "statistics" else nn.Identity()
        self.output = nn.Linear(16, 10)
        if kind == "hooks":
            self.output.register_forward_hook(lambda *arguments: None)

    def forward(self, images: Tensor) -> Tensor:
        hidden = self.norm(self.layers(images))
        if self.kind == "control flow" and hidden.sum() > 0:
            hidden = 2 * hidden
        return self.output(hidden)


class Squared(SGD):
    """Goes twice as far at twice the rate, and once more."""

    def step(self, closure=None):
        for group in self.param_groups:
            group["lr"] = group["lr"] ** 2
        result = super().step(closure)
        for group in self.param_groups:
            group["lr"] = group["lr"] ** 0.5
        return result


class EachStep(L.Callback):
    def on_before_optimizer_step(self, trainer, pl_module, optimizer):
        pass


def cycling(optimizer, total_steps):
    return OneCycleLR(optimizer, max_lr=0.1, total_steps=total_steps, cycle_momentum=True)


def network(kind: str) -> list[str]:
    return [f"model._target_={HERE}.Net", f"+model.kind={kind}", "~model.widths",
            "~model.activation"]  # fmt: skip


@pytest.mark.parametrize(
    ("overrides", "reason"),
    [
        (network("statistics"), "a training step changes its network's norm.running_mean"),
        (network("control flow"), "torch.vmap cannot take its network or loss ("),
        (network("hooks"), "its network has hooks, at output"),
        ([f"optimizer._target_={HERE}.Squared"], "its steps come out differently ("),
        (["scheduler=one_cycle", f"scheduler._target_={HERE}.cycling", "~scheduler.warmup",
          "optimizer.momentum=0.9"], "its schedule changes momentum besides the learning rate"),
        ([f"+callback.each._target_={HERE}.EachStep"],
         "the callback EachStep has to be called at on_before_optimizer_step"),
    ],
)  # fmt: skip
def test_what_cannot_be_stacked_trains_one_by_one_to_the_same_and_says_why(
    stack, run, caplog, overrides, reason
):
    runs = {name: RUNS[name] for name in ("first", "second")}
    with caplog.at_level(logging.WARNING):
        entries = stack(runs, *overrides)
    said = [record.getMessage() for record in caplog.records if NOTE in record.getMessage()]
    assert len(said) == 1
    assert said[0].startswith(NOTE + reason)
    assert_shared(entries, 1)
    for name, entry in zip(runs, entries, strict=True):
        assert entry["metrics"] == run(f"{name}_alone", *overrides, *runs[name])["metrics"]


class Sleepy(L.Callback):
    def on_train_epoch_start(self, trainer, pl_module):
        if trainer.current_epoch == 1:
            time.sleep(1.5)


def test_a_run_that_trains_alone_does_not_count_the_seconds_of_others(stack):
    sleepy = f"+callback.sleepy._target_={HERE}.Sleepy"
    runs = {"sleepy": [*RUNS["first"], sleepy], "awake": RUNS["second"]}
    entries = stack(runs, *network("hooks"), "trainer.max_epochs=2")
    assert_shared(entries, 1)
    slept, awake = (entry["timing"]["seconds"] for entry in entries)
    assert slept - awake > 1


class Dropped(L.Callback):
    """Keeps which units the dropout of each run has left out last."""

    seen: dict[str, Tensor]

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        Dropped.seen[trainer.default_root_dir] = outputs["outputs"]


class OnlyDropout(nn.Module):
    def __init__(self, **sizes: object) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(10))
        self.dropout = nn.Dropout(0.5)

    def forward(self, images: Tensor) -> Tensor:
        return self.dropout(torch.ones_like(images[:, 0, 0, :10])) * self.scale


def test_dropout_draws_for_each_run_and_again_the_same(stack):
    overrides = [f"model._target_={HERE}.OnlyDropout", "~model.widths", "~model.activation",
                 f"+callback.dropped._target_={HERE}.Dropped", "optimizer.lr=1e-9"]  # fmt: skip
    seen = []
    for attempt in range(2):
        Dropped.seen = {}
        runs = {f"{attempt}{name}": [f"seed={seed}"] for seed, name in enumerate("ab")}
        assert_shared(stack(runs, *overrides), 2)
        seen.append(list(Dropped.seen.values()))
    assert not torch.equal(seen[0][0] == 0, seen[0][1] == 0)
    for first, second in zip(*seen, strict=True):
        assert torch.equal(first, second)


@pytest.mark.parametrize(
    ("own", "stacks"),
    [([], 2), (["threads=2"], 1), ([*SMALL_CNN, "model.dropout=0.5"], 1)],
)
def test_an_operation_takes_no_more_threads_than_in_a_run_alone(stack, monkeypatch, own, stacks):
    seen = []
    take = Stack.take_steps

    def noted(*args):
        seen.append(torch.get_num_threads())
        return take(*args)

    monkeypatch.setattr(Stack, "take_steps", noted)
    monkeypatch.setattr("runlab.stacks.scheduler.available_cores", lambda: 2)
    monkeypatch.setattr(
        "runlab.stacks.equivalence.Stack", type("Own", (Stack,), {"take_steps": take})
    )
    entries = stack(RUNS, *own)
    assert_shared(entries)
    assert set(seen) == {entries[0]["config"]["threads"]}
    assert len(seen) == stacks * 3 * entries[0]["metrics"]["epochs"]  # blocks of an epoch


EXPLODING = ["optimizer.lr=1e30", "seed=3"]


@pytest.mark.parametrize("place", [0, 1, 3])
@pytest.mark.parametrize("number", [1, 2, 3])
def test_wherever_the_run_that_ends_early_stands(stack, run, tmp_path, monkeypatch, place, number):
    monkeypatch.setattr("runlab.stacks.scheduler.available_cores", lambda: number)
    common = ["loss=mse_logits", "trainer.max_epochs=2", DOUBLE]
    names = list(RUNS)
    runs = {name: RUNS[name] for name in names[:place]} | {"exploding": EXPLODING}
    runs |= {name: RUNS[name] for name in names[place:]}
    entries = stack(runs, *common)
    assert [entry["status"] for entry in entries].count("diverged") == 1
    assert_shared(entries, 4)
    last = names[-1]
    run("alone", *common, *RUNS[last], "overwrite=true")
    assert_equal(tmp_path / last, tmp_path / "alone")


class Meddling(L.Callback):
    """Changes, in the second epoch, one of what a stack might have taken for granted."""

    def __init__(self, what: str) -> None:
        self.what = what

    def on_train_epoch_start(self, trainer, pl_module):
        if trainer.current_epoch == 1:
            [group] = trainer.optimizers[0].param_groups
            if self.what == "frozen":
                first, *_ = pl_module.network.parameters()
                first.requires_grad_(False)
            if self.what == "optimizer":
                group["weight_decay"] = 0.1
            if self.what == "class":
                pl_module.network.layers[2] = nn.Tanh()
            if self.what == "tensor":
                pl_module.loss.scale = torch.tensor(0.5)
            if self.what == "attribute":
                pl_module.loss.k = 2.0 if group["lr"] > 0.02 else 3.0


class Scaled(MSELogits):
    """With a tensor of its own."""

    def __init__(self, **numbers: float) -> None:
        super().__init__(**numbers)
        self.register_buffer("scale", torch.tensor(1.0))

    def forward(self, outputs: Tensor, labels: Tensor) -> Tensor:
        return super().forward(outputs, labels) * self.scale


@pytest.mark.parametrize("what", ["frozen", "optimizer", "class", "tensor", "attribute"])
def test_what_a_callback_changes_between_blocks_holds_in_a_stack_too(stack, run, tmp_path, what):
    common = [DOUBLE, "trainer.max_epochs=2", *network(""), f"loss._target_={HERE}.Scaled",
              "loss=mse_logits"]  # fmt: skip
    common += [f"+callback.meddling._target_={HERE}.Meddling", f"+callback.meddling.what={what}"]
    assert_shared(stack(RUNS, *common), 3)
    for name, own in RUNS.items():
        run("alone", *common, *own, "overwrite=true")
        assert_equal(tmp_path / name, tmp_path / "alone")


class Rounding:
    """Its `repr` tells where in memory it lies."""


class Helped(MSELogits):
    def __init__(self, **numbers: float) -> None:
        super().__init__(**numbers)
        self.helper = Rounding()


def test_a_loss_that_holds_an_object_is_stacked(stack):
    assert_shared(stack(RUNS, "loss=mse_logits", f"loss._target_={HERE}.Helped"), 3)


def test_a_run_whose_modules_are_no_others_says_so(stack, caplog):
    (first, own), *others = RUNS.items()
    k = ["loss=mse_logits", f"+callback.tuning._target_={HERE}.Tuning"]
    with caplog.at_level(logging.WARNING):
        entries = stack({first: [*own, *k], **{name: [*o, *k] for name, o in others}})
    assert [entry["timing"]["stack"] for entry in entries] == [1, 2, 2]
    assert f"{NOTE}its modules hold other settings than the other runs'" in caplog.text


class Tuning(L.Callback):
    """Gives the run of seed 0 another loss than its configuration says."""

    def on_train_start(self, trainer, pl_module):
        if pl_module.hparams["config"]["seed"] == 0:
            pl_module.loss.k = 2.0


class Counting(nn.Module):
    """Cross-entropy that counts its calls."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def forward(self, outputs: Tensor, labels: Tensor) -> Tensor:
        self.calls += 1
        return nn.functional.cross_entropy(outputs, labels) / self.calls

    def probabilities(self, outputs: Tensor) -> Tensor:
        return outputs.softmax(dim=1)


class Tallying(Counting):
    """Counts in a tensor that is no buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = torch.tensor(0)


class Lucky(nn.Module):
    """Draws from Python's generator."""

    def __init__(self, shape: list[int], num_classes: int) -> None:
        super().__init__()
        self.linear = nn.Linear(784, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        return self.linear(images.flatten(1)) * (1 + random.random() / 10)


class Uncopiable(nn.Module):
    def __init__(self, shape: list[int], num_classes: int) -> None:
        super().__init__()
        self.linear = nn.Linear(784, num_classes)
        self.lock = threading.Lock()

    def forward(self, images: Tensor) -> Tensor:
        return self.linear(images.flatten(1))


@pytest.mark.parametrize(
    ("group", "component", "reason"),
    [
        ("loss", "Counting", "a training step changes its loss's calls"),
        ("loss", "Tallying", "a training step changes its loss's calls"),
        ("model", "Lucky", "a training step changes Python's or NumPy's random generator"),
        ("model", "Uncopiable", "cannot pickle"),
    ],
)
def test_what_has_a_state_of_its_own_is_not_stacked(
    stack, run, tmp_path, caplog, group, component, reason
):
    base = ["model=linear"] if group == "model" else []
    common = [*base, f"{group}._target_={HERE}.{component}", DOUBLE]
    with caplog.at_level(logging.WARNING):
        entries = stack(RUNS, *common)
    assert_shared(entries, 1)
    assert reason in caplog.text
    if component == "Lucky":
        return  # while tests run, the type checker draws from the same generator
    for name, own in RUNS.items():
        run("alone", *common, *own, "overwrite=true")
        assert_equal(tmp_path / name, tmp_path / "alone")
