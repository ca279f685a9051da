"""How the steps that runs wait for are computed: what is gathered, compiled, drawn, and timed."""

import logging
import time

import lightning as L
import pytest
import torch
from torch import Tensor, nn
from torch._dynamo import register_backend

from runlab.blocks.lazy_batch import LazyBatch
from runlab.runs import record
from runlab.stacks.scheduler import Scheduler
from runlab.stacks.stack import Stack
from runlab.stacks.step_request import StepRequest
from tests.stacks.test_eligibility import with_network
from tests.stacks.test_stack import (
    DOUBLE,
    ONE_EPOCH,
    PAIR,
    RUNS,
    SMALL_CNN,
    TWO_EPOCHS,
    assert_equal,
    assert_shared,
)

HERE = "tests.stacks.test_scheduler"


@pytest.mark.long
def test_no_run_gathers_its_whole_block(stack, monkeypatch):
    def materialize(batch):
        raise MemoryError("a whole block")

    monkeypatch.setattr(LazyBatch, "materialized", property(materialize))
    seen = []
    make = StepRequest.member.fget
    monkeypatch.setattr(
        StepRequest,
        "member",
        property(lambda request: seen.append(type(request.batches.inputs)) or make(request)),
    )
    assert_shared(stack(RUNS, ONE_EPOCH))
    assert set(seen) == {LazyBatch}


class Inverts(L.Callback):
    """Writes into what training is about to take."""

    blocks_suffice = True

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        batch[0][:] = 255 - batch[0]


@pytest.mark.long
def test_what_a_callback_writes_into_a_block_is_trained_on(stack, run, alone, tmp_path):
    common = [DOUBLE, TWO_EPOCHS]
    inverts = f"+callback.inverts._target_={HERE}.Inverts"
    inverted = run("alone", *common, *RUNS["first"], inverts)
    plain = alone(*common, *RUNS["first"])
    assert inverted["metrics"] != record.read(plain)["metrics"]
    assert_shared(stack(PAIR, *common, inverts), 2)
    assert_equal(tmp_path / "first", tmp_path / "alone")


@pytest.mark.long
def test_what_is_compiled_comes_to_the_same(stack, alone, tmp_path, caplog):
    common = [DOUBLE, TWO_EPOCHS]
    with caplog.at_level(logging.WARNING):
        assert_shared(stack(RUNS, *common, backend="aot_eager"))
    assert "not compiled" not in caplog.text
    assert_equal(tmp_path / "second", alone(*common, *RUNS["second"]))


@pytest.mark.long
def test_blocks_of_any_length_are_compiled_once(stack):
    graphs = []

    def remember(graph, inputs):
        graphs.append(graph)
        return graph.forward

    register_backend(remember, name="remembering")
    blocks_of_3_3_3_and_1 = "data.steps_per_execution=3"
    assert_shared(stack(RUNS, ONE_EPOCH, blocks_of_3_3_3_and_1, backend="remembering"))
    assert len(graphs) == 2  # gradients and descent, of all three runs


@pytest.mark.long
def test_what_the_compiler_cannot_take_is_stacked_all_the_same_and_says_why(stack, caplog):
    def refuse(graph, inputs):
        raise RuntimeError("no compiler here")

    register_backend(refuse, name="refusing")
    with caplog.at_level(logging.WARNING):
        assert_shared(stack(RUNS, ONE_EPOCH, backend="refusing"))
    [said] = [each.getMessage() for each in caplog.records if "not compiled" in each.getMessage()]
    assert "no compiler here" in said


class Sleepy(L.Callback):
    def on_train_epoch_start(self, trainer, pl_module):
        if trainer.current_epoch == 1:
            time.sleep(1.5)


@pytest.mark.long
def test_a_run_that_trains_alone_does_not_count_the_seconds_of_others(stack):
    sleepy = f"+callback.sleepy._target_={HERE}.Sleepy"
    runs = {"sleepy": [*RUNS["first"], sleepy], "awake": RUNS["second"]}
    entries = stack(runs, *with_network("hooks"), TWO_EPOCHS)
    assert_shared(entries, 1)
    slept, awake = (entry["timing"]["seconds"] for entry in entries)
    assert slept - awake > 1


class Dropped(L.Callback):
    """Keeps which units the dropout of each run has left out last."""

    blocks_suffice = True

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


@pytest.mark.long
def test_dropout_draws_for_each_run_and_again_the_same(stack):
    overrides = [f"model._target_={HERE}.OnlyDropout", "~model.widths", "~model.activation",
                 f"+callback.dropped._target_={HERE}.Dropped", "optimizer.lr=1e-9"]  # fmt: skip
    seen = []
    for attempt in range(2):
        Dropped.seen = {}
        runs = {f"{attempt}{name}": [f"seed={seed}"] for seed, name in enumerate("ab")}
        assert_shared(stack(runs, ONE_EPOCH, *overrides), 2)
        seen.append(list(Dropped.seen.values()))
    assert not torch.equal(seen[0][0] == 0, seen[0][1] == 0)
    for first, second in zip(*seen, strict=True):
        assert torch.equal(first, second)


@pytest.mark.long
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
    monkeypatch.setattr(Scheduler, "choose_watched", lambda *stack: [])
    monkeypatch.setattr("runlab.stacks.scheduler.available_cores", lambda: 2)
    monkeypatch.setattr(
        "runlab.stacks.equivalence.Stack", type("Own", (Stack,), {"take_steps": take})
    )
    entries = stack(RUNS, ONE_EPOCH, *own)
    assert_shared(entries)
    assert set(seen) == {entries[0]["config"]["threads"]}
    assert len(seen) == stacks * 3  # blocks of an epoch
