"""How an epoch is cut into blocks: whatever counts steps or batches meets each of its own."""

import csv

import lightning as L
import pytest
from lightning.pytorch.callbacks import Timer

from runlab.blocks.plan import BlockPlan
from runlab.blocks.size import tell
from runlab.runs import record
from runlab.train import train
from tests.compose import compose

# of a checkpoint after every n steps; the weights are those after its step, as they should be
pytestmark = pytest.mark.filterwarnings("ignore:Using ModelCheckpoint with manual optimization")

HERE = "tests.blocks.test_size"
FEW = ["logger=none", "callback=[checkpoint,curves]", "optimizer.lr=0.02"]
"""An epoch has 10 batches, a block at most 4 of them."""


@pytest.mark.parametrize(
    ("plan", "lengths"),
    [
        (BlockPlan(10, 4, 10), [4, 4, 2]),
        (BlockPlan(10, 4, 6), [4, 2, 4]),
        (BlockPlan(10, 3, 5), [3, 2, 3, 2]),
        (BlockPlan(3, 50, 3), [3]),
        (BlockPlan(10, 4, 10, last=7), [4, 3]),
        (BlockPlan(10, 4, 10, last=8), [4, 4]),
    ],
)
def test_no_block_crosses_a_segment_or_the_end_of_the_run(plan, lengths):
    assert plan.lengths() == lengths


def test_the_end_of_a_run_lies_in_one_epoch_and_leaves_the_ones_before_whole():
    plan = BlockPlan(10, 4, 10, last=23)
    assert [plan.lengths(epoch) for epoch in range(3)] == [[4, 4, 2], [4, 4, 2], [3]]


@pytest.mark.parametrize(
    ("plan", "batches", "blocks"),
    [(BlockPlan(10, 4, 5), 5, 2), (BlockPlan(10, 3, 3), 9, 3), (BlockPlan(10, 4, 5), 35, 14)],
)
def test_an_interval_in_batches_is_one_in_blocks(plan, batches, blocks):
    assert plan.blocks_in(batches) == blocks
    assert sum((plan.lengths() * 4)[:blocks]) == batches


class Steps(L.Callback):
    """Notes after which optimizer steps it is called, and for which shapes of targets."""

    seen: list[int]
    shapes: list[tuple[int, ...]]

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        Steps.seen.append(trainer.global_step)
        Steps.shapes.append(tuple(batch[1].shape))


class Blocks(Steps):
    blocks_suffice = True


class OfLightningsKind(Timer, Steps):
    """Its hook is its own, though its base is one of Lightning's that blocks suffice for."""

    on_train_batch_end = Steps.on_train_batch_end


@pytest.fixture
def steps(tmp_path, tiny, caplog):
    """Trains with overrides, and returns after which optimizer steps a callback was called."""

    def trained(*overrides, callback="Blocks", folder="run"):
        Steps.seen, Steps.shapes = [], []
        tell.cache_clear()
        (tmp_path / folder).mkdir()
        watch = f"+callback.watch._target_={HERE}.{callback}"
        cfg = compose(*tiny, *FEW, watch, *overrides, folder=tmp_path / folder)
        with caplog.at_level("INFO"):
            train(cfg)
        return Steps.seen

    return trained


def test_a_callback_that_acts_on_batches_gets_every_step_and_is_named(steps, caplog):
    assert steps("trainer.max_epochs=1", callback="Steps") == list(range(1, 11))
    assert set(Steps.shapes) == {(16,)}, "ordinary batches, as in plain Lightning"
    assert "step by step, as the callback Steps acts in on_train_batch_end" in caplog.text


def test_so_does_one_that_derives_from_lightnings_timer(steps):
    assert steps("trainer.max_epochs=1", callback="OfLightningsKind") == list(range(1, 11))


def test_one_that_says_blocks_suffice_gets_blocks(steps, caplog):
    assert steps("trainer.max_epochs=1") == [4, 8, 10]
    assert "step by step" not in caplog.text


LAMBDA = "+callback.own={_target_:lightning.pytorch.callbacks.LambdaCallback,on_train_batch_end:"
LAMBDA += f"{{_target_:hydra.utils.get_method,path:{HERE}.nothing}}}}"


def nothing(*arguments):
    pass


SAVES = "+callback.own={_target_:lightning.pytorch.callbacks.ModelCheckpoint,save_top_k:-1,"
SAVES += "dirpath:'${run.folder}/own',filename:'{step}',every_n_train_steps:"

CUTS = {
    "whole": ([], [4, 8, 10, 14, 18, 20]),
    "a batch": (["+trainer.limit_train_batches=1"], [1, 2]),
    "a limit": (["+trainer.limit_train_batches=7"], [4, 7, 11, 14]),
    "half an epoch": (["+trainer.limit_train_batches=0.5"], [4, 5, 9, 10]),
    "max_steps": (["+trainer.max_steps=13"], [4, 8, 10, 13]),
    "an interval": (["+trainer.val_check_interval=6"], [4, 6, 10, 14, 16, 20]),
    "a third": (["+trainer.val_check_interval=0.34"], [2, 3, 5, 6, 8, 9, 10]),
    "across epochs": (
        ["+trainer.val_check_interval=15", "+trainer.check_val_every_n_epoch=null"], [4, 5, 9, 10]
    ),
    "checkpoints": ([SAVES + "5}"], [4, 5, 9, 10]),
    "lambda": ([LAMBDA], list(range(1, 21))),
    "overfit": (["+trainer.overfit_batches=3"], [3, 6]),
}  # fmt: skip


@pytest.mark.parametrize("cut", CUTS)
def test_blocks_end_where_something_falls_due(steps, cut):
    overrides, expected = CUTS[cut]
    assert steps(*overrides)[: len(expected)] == expected


@pytest.mark.long
@pytest.mark.parametrize(
    ("overrides", "epochs"),
    [
        (["+trainer.val_check_interval=3"], [0.3, 0.6, 0.9, 1.3, 1.6, 1.9, 2]),
        (["+trainer.val_check_interval=7"], [0.7, 1.7, 2]),
        (["+trainer.val_check_interval=0.5"], [0.5, 1, 1.5, 2]),
        (["+trainer.val_check_interval=15", "+trainer.check_val_every_n_epoch=null"], [1.5, 2]),
        (["+trainer.max_steps=13", "+trainer.val_check_interval=5"], [0.5, 1, 1.3]),
    ],
)
def test_validation_comes_after_so_many_batches(steps, tmp_path, overrides, epochs):
    steps(*overrides)
    with (tmp_path / "run" / "curves.csv").open(newline="") as file:
        assert [float(row["epoch"]) for row in csv.DictReader(file)] == epochs


@pytest.mark.parametrize(("every", "saved"), [(5, [5, 10, 15, 20]), (3, [3, 6, 9, 12, 15, 18])])
def test_checkpoints_come_after_every_n_steps(steps, tmp_path, every, saved):
    steps(SAVES + f"{every}}}")
    names = sorted(path.stem for path in (tmp_path / "run" / "own").iterdir())
    assert names == sorted(f"step={step}" for step in saved)


def test_weights_and_metrics_are_those_of_steps_taken_one_by_one(steps, tmp_path):
    steps("+trainer.limit_train_batches=7", folder="blocks")
    steps("+trainer.limit_train_batches=7", callback="Steps", folder="steps")
    blocks, one_by_one = (record.read(tmp_path / name)["metrics"] for name in ("blocks", "steps"))
    same = [name for name in blocks if name != "train/loss"]  # there a mean over blocks
    assert {name: blocks[name] for name in same} == {name: one_by_one[name] for name in same}


def test_an_interval_longer_than_an_epoch_is_one_sentence(steps):
    with pytest.raises(ValueError, match=r"val_check_interval of at most 10, .*got 11: lower it"):
        steps("+trainer.val_check_interval=11")
