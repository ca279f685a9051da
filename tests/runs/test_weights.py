"""Which weights are tested: the record, the file that holds them and evaluate.py agree."""

import logging

import lightning as L
import pytest
import torch
from hydra import compose as hydra_compose
from hydra import initialize_config_dir

from runlab.extras.evaluate.evaluate import evaluate
from runlab.runs import record
from runlab.train import train
from tests.compose import CONF, compose

FEW = ["logger=none", "callback=checkpoint", "trainer.max_epochs=4"]
AVERAGE = "+callback.average._target_=lightning.pytorch.callbacks."
EMA = [f"{AVERAGE}EMAWeightAveraging", "+callback.average.decay=0.8"]
SWA = [f"{AVERAGE}StochasticWeightAveraging", "+callback.average.swa_lrs=0.05",
       "+callback.average.swa_epoch_start=2"]  # fmt: skip


@pytest.fixture
def run(tmp_path, tiny):
    def train_in(folder, *overrides):
        (tmp_path / folder).mkdir(exist_ok=True)
        return train(compose(*tiny, *FEW, *overrides, folder=tmp_path / folder))

    return train_in


def evaluated(path, tiny) -> dict[str, float]:
    data_dir = tiny[0]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = hydra_compose("evaluate", [f"checkpoint='{path}'", data_dir, "trainer=cpu"])
    return dict(evaluate(cfg).metrics)


CHOICES = {
    "best": ([], "best"),
    "last": (["test_weights=last"], "last"),
    "best of an EMA": (EMA, "best"),
    "EMA": ([*EMA, "test_weights=averaged"], "averaged"),
    "SWA": ([*SWA, "test_weights=averaged"], "averaged"),
    "half precision": (["+trainer.precision=bf16-mixed"], "best"),
    "few validated": (["+trainer.limit_val_batches=1", "+data.eval_batch_size=8"], "best"),
}


@pytest.mark.parametrize("choice", CHOICES)
def test_the_record_and_the_file_that_is_evaluated_are_of_the_same_weights(
    run, tmp_path, tiny, choice
):
    overrides, file = CHOICES[choice]
    entry = run("run", *overrides, "optimizer.lr=0.05")
    of_file = evaluated(tmp_path / "run" / "checkpoints" / f"{file}.ckpt", tiny)
    recorded = {k: v for k, v in entry["metrics"].items() if k.startswith(("val/", "test/"))}
    assert of_file == recorded


@pytest.mark.long
def test_the_choice_decides_what_is_tested(run):
    best, last = (run(c, f"test_weights={c}", "optimizer.lr=2") for c in ("best", "last"))
    ema, raw = (run(c, *o, "optimizer.lr=0.05") for c, o in (
        ("ema", [*EMA, "test_weights=averaged"]), ("raw", ["test_weights=last"])))  # fmt: skip
    assert best["metrics"]["test/loss"] != last["metrics"]["test/loss"]
    assert ema["metrics"]["test/loss"] != raw["metrics"]["test/loss"]
    assert "best_epoch" in best["metrics"]
    assert "best_epoch" not in last["metrics"]
    assert best["fingerprint"] != last["fingerprint"]


def weights(path):
    return torch.load(path, weights_only=True)["state_dict"]


@pytest.mark.long
def test_an_average_of_every_step_does_not_depend_on_blocks(run, tmp_path):
    for steps in (1, 10):
        run(str(steps), *EMA, f"data.steps_per_execution={steps}", "test_weights=averaged")
    one, ten = (weights(tmp_path / name / "checkpoints" / "averaged.ckpt") for name in ("1", "10"))
    assert all(torch.equal(one[name], ten[name]) for name in one)


class ByHand(L.Callback):
    """An average of the weights after each step, all with the same share."""

    total: dict[str, torch.Tensor]

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        for name, each in pl_module.named_parameters():
            ByHand.total[name] = ByHand.total.get(name, 0) + each.detach().double() / 20


@pytest.mark.long
def test_the_average_is_that_of_the_weights_after_each_step(run, tmp_path):
    ByHand.total = {}
    run("run", f"{AVERAGE}WeightAveraging", "test_weights=averaged", "trainer.max_epochs=2",
        "+callback.hand._target_=tests.runs.test_weights.ByHand")  # fmt: skip
    found = weights(tmp_path / "run" / "checkpoints" / "averaged.ckpt")
    for name, expected in ByHand.total.items():
        assert torch.allclose(found[name].double(), expected, atol=1e-6), name


class Stop(L.Callback):
    """Stops the process in the third epoch, once."""

    done = False

    def on_train_epoch_start(self, trainer, pl_module):
        if trainer.current_epoch == 2 and not Stop.done:
            Stop.done = True
            raise SystemExit("stopped by the test")


@pytest.mark.long
@pytest.mark.parametrize("average", [EMA, SWA])
def test_a_run_that_was_stopped_ends_with_the_same_average(run, average):
    stop = "+callback.stop._target_=tests.runs.test_weights.Stop"
    Stop.done = False
    with pytest.raises(SystemExit):
        run("stopped", *average, "test_weights=averaged", stop)
    resumed = run("stopped", *average, "test_weights=averaged", stop)
    whole = run("whole", *average, "test_weights=averaged", stop)
    assert resumed["metrics"] == whole["metrics"]


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (["test_weights=averaged"], "expected a callback that averages weights"),
        ([*EMA, "test_weights=last"], "got EMAWeightAveraging, .*choose test_weights=averaged"),
        (SWA, "expected test_weights=averaged with the callback StochasticWeightAveraging"),
        ([*EMA, "+callback.average.update_starting_at_step=99", "test_weights=averaged"],
         "expected EMAWeightAveraging to have averaged weights"),
    ],
)  # fmt: skip
def test_a_choice_that_leaves_nothing_to_test_is_one_sentence(run, overrides, told):
    with pytest.raises(ValueError, match=told):
        run("run", *overrides)


@pytest.mark.long
def test_stacked_runs_average_as_alone(tmp_path, tiny, commands):
    sweep = ["-m", *tiny, *FEW, *EMA, "test_weights=averaged", "seed=0,1", "optimizer.lr=0.05"]
    for launcher in ("basic", "stacked"):
        where = f"hydra.sweep.dir={tmp_path}/{launcher}"
        done = commands.run(tmp_path, "scripts/train.py", *sweep, f"hydra/launcher={launcher}",
                            where)  # fmt: skip
        assert done.returncode == 0, done.stderr
        logging.info(done.stdout)
    runs = sorted(path.name for path in (tmp_path / "basic").glob("*seed=*"))
    for name in runs:
        alone, stacked = (record.read(tmp_path / where / name) for where in ("basic", "stacked"))
        assert stacked["timing"]["stack"] == 2
        assert stacked["metrics"]["test/nll"] == pytest.approx(alone["metrics"]["test/nll"], 1e-4)
