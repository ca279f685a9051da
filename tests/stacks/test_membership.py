"""Runs that leave a stack, come to it late, or are not in the same one."""

import logging

import lightning as L
import pytest
import torch

from runlab.runs import record
from runlab.stacks import equivalence
from runlab.stacks.stack import Stack
from tests.runs.test_resume import STOP, Stop
from tests.stacks.test_modules import as_module
from tests.stacks.test_stack import (
    ADAPTIVE,
    DOUBLE,
    NOTE,
    ONE_EPOCH,
    PAIR,
    RUNS,
    TWO_EPOCHS,
    assert_equal,
    assert_shared,
)

HERE = "tests.stacks.test_membership"
EXPLODING = ["optimizer.lr=1e30", "seed=3"]


@pytest.mark.long
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_runs_that_diverge_end_and_their_neighbours_go_on_unchanged(
    stack, alone, tmp_path, monkeypatch, threads
):
    monkeypatch.setattr("runlab.stacks.scheduler.available_cores", lambda: threads)
    common = ["loss=mse_logits", TWO_EPOCHS, DOUBLE]
    runs = {"before": EXPLODING, "first": PAIR["first"], "between": EXPLODING,
            "second": PAIR["second"], "after": EXPLODING}  # fmt: skip
    entries = stack(runs, *common)
    assert_shared(entries, 5)
    assert [entry["status"] == "diverged" for entry in entries] == [True, False] * 2 + [True]
    assert [entry["metrics"]["epochs"] for entry in entries] == [1, 2, 1, 2, 1]
    for name, own in PAIR.items():
        assert_equal(tmp_path / name, alone(*common, *own))


class FailLate(L.Callback):
    def on_train_epoch_start(self, trainer, pl_module):
        if trainer.current_epoch == 1:
            raise RuntimeError("no luck")


@pytest.mark.long
def test_a_run_whose_callback_raises_fails_and_its_neighbour_goes_on_alone(stack, alone, tmp_path):
    failing = f"+callback.late._target_={HERE}.FailLate"
    runs = {"failing": [*ADAPTIVE["first"], failing], "going": ADAPTIVE["second"]}
    error, entry = stack(runs, "optimizer=adam", DOUBLE)
    assert str(error) == "no luck"
    assert record.read(tmp_path / "failing")["status"] == "failed"
    assert entry["timing"]["stack"] == 2
    assert_equal(tmp_path / "going", alone("optimizer=adam", DOUBLE, *ADAPTIVE["second"]))


@pytest.mark.long
@pytest.mark.parametrize("common", [["optimizer=adamw", "scheduler=one_cycle"],
                                    ["optimizer.momentum=0.9", "scheduler=cosine"]])  # fmt: skip
def test_a_stack_that_was_stopped_goes_on_as_runs_alone_do(stack, run, tmp_path, common):
    common = [*common, DOUBLE, TWO_EPOCHS, STOP]
    runs = {name: ADAPTIVE[name] for name in PAIR}
    Stop.at("second block", 1)  # of the first run that comes there
    with pytest.raises(SystemExit):
        stack(runs, *common)
    assert [record.read(tmp_path / name)["status"] for name in runs] == ["interrupted"] * 2
    entries = stack(runs, *common)
    assert_shared(entries, 2)
    assert [entry["timing"]["resumed"] for entry in entries] == [1, 1]
    for name, own in runs.items():
        run_in_two(run, f"{name}_alone", *common, *own)
        assert_equal(tmp_path / name, tmp_path / f"{name}_alone")


def run_in_two(run, folder, *overrides):
    """Stops once: going on, Lightning rounds weights in double precision to single precision."""
    Stop.at("epoch start", 1)
    with pytest.raises(SystemExit):
        run(folder, *overrides)
    run(folder, *overrides)


@pytest.mark.long
def test_runs_of_different_progress_are_computed_apart(stack, run, tmp_path):
    common = ["optimizer=adam", DOUBLE, TWO_EPOCHS, STOP]
    Stop.at("epoch start", 1)
    with pytest.raises(SystemExit):
        run("first", *common, *ADAPTIVE["first"])
    assert not (tmp_path / "second").exists()
    entries = stack(ADAPTIVE, *common)
    assert [entry["timing"]["stack"] for entry in entries] == [1, 2, 2]
    run_in_two(run, "alone", *common, *ADAPTIVE["first"])
    assert_equal(tmp_path / "first", tmp_path / "alone")


@pytest.mark.long
def test_runs_that_differ_in_more_than_numbers_are_computed_apart(stack):
    runs = {
        "a": ["loss=mse"], "b": ["loss=mse", "seed=1"],
        "c": ["loss=cross_entropy"], "d": ["loss=cross_entropy", "seed=1"],
        "e": ["data.batch_size=20"], "f": ["optimizer.momentum=0.5"], "g": ["model=linear"],
    }  # fmt: skip
    entries = stack(runs, ONE_EPOCH)
    assert [entry["timing"]["stack"] for entry in entries] == [2, 2, 2, 2, 1, 1, 1]


class Tuning(L.Callback):
    """Gives the run of seed 0 another loss than its configuration says."""

    def on_train_start(self, trainer, pl_module):
        if pl_module.hparams["config"]["seed"] == 0:
            pl_module.loss.k = 2.0


@pytest.mark.long
def test_a_run_whose_modules_are_no_others_says_so(stack, caplog):
    tuning = ["loss=mse_logits", f"+callback.tuning._target_={HERE}.Tuning"]
    with caplog.at_level(logging.WARNING):
        entries = stack(RUNS, ONE_EPOCH, *tuning)
    assert [entry["timing"]["stack"] for entry in entries] == [1, 2, 2]
    assert f"{NOTE}its loss's k is another than the other runs'" in caplog.text


@pytest.mark.long
def test_no_more_runs_are_computed_at_once_than_was_asked_for(stack):
    entries = stack(RUNS, ONE_EPOCH, size=2)
    assert [entry["timing"]["stack"] for entry in entries] == [2, 2, 1]


MEMORY_ERRORS = [
    torch.OutOfMemoryError(),
    RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"),
    MemoryError(),
]


@pytest.mark.long
@pytest.mark.parametrize("error", MEMORY_ERRORS)
@pytest.mark.parametrize("own", [[], as_module("Mixup")])
def test_where_memory_does_not_suffice_fewer_are_computed_at_once(stack, monkeypatch, error, own):
    class Tight(Stack):
        def __init__(self, members):
            if len(members) > 2:
                raise error
            super().__init__(members)

    monkeypatch.setattr("runlab.stacks.equivalence.Stack", Tight)
    runs = {f"run{seed}": [f"seed={seed}"] for seed in range(4)}
    assert [entry["timing"]["stack"] for entry in stack(runs, ONE_EPOCH, *own)] == [2, 2, 2, 2]


@pytest.mark.long
@pytest.mark.parametrize("function", ["steps_alone", "steps_together", "find_side_effect"])
def test_too_little_memory_for_the_check_halves_the_stack_too(stack, monkeypatch, function):
    """Where the check fits that way; what is left is no optimizer that cannot be stacked."""
    compute, calls = getattr(equivalence, function), []

    def tight(*args, **settings):
        calls.append(args)
        if len(calls) == 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return compute(*args, **settings)

    monkeypatch.setattr(equivalence, function, tight)
    runs = {f"run{seed}": [f"seed={seed}"] for seed in range(4)}
    assert [entry["timing"]["stack"] for entry in stack(runs, ONE_EPOCH)] == [2, 2, 2, 2]
