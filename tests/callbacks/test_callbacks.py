"""What is watched while a run trains: gradients, speed, divergence, and the bar that shows it."""

import sys

import lightning as L
import numpy as np
import pytest
import torch
from torch import nn

from runlab.blocks.block import Block
from runlab.callbacks import GradientNorm, Progress, StopOnDivergence, Throughput
from runlab.measure import Measure
from tests.callbacks import regression
from tests.callbacks.regression import Regression, samples


class Line(L.LightningModule):
    """One weight w, loss w² · batch mean; manual optimization in blocks, as `Module` has."""

    def __init__(self, weight: float = 1.0, learning_rate: float = 0.1) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.weight = nn.Parameter(torch.tensor(weight))
        self.learning_rate = learning_rate

    def training_step(self, batch, batch_index):
        optimizer = self.optimizers()
        optimizer.zero_grad()
        loss = self.weight.square() * batch[0].mean()
        self.manual_backward(loss)
        optimizer.step()
        self.log("train/loss", loss.detach())

    def log_deferred(self, name, value):
        self.log(name, value)

    def validation_step(self, batch, batch_index):
        self.log("val/loss", self.weight.detach().square())

    def configure_optimizers(self):
        return torch.optim.SGD([self.weight], lr=self.learning_rate)


def fit(module: Line, *callbacks: L.Callback, epochs: int = 3) -> L.Trainer:
    batch = (torch.ones(4, 1, 1, 1), torch.zeros(4, dtype=torch.int64))
    return regression.fit(
        module, *callbacks, epochs=epochs, train=[batch, batch], val=[batch, batch]
    )


def test_divergence_stops_after_the_epoch_in_which_a_metric_ceased_to_be_finite():
    diverging = Line(weight=1e30, learning_rate=1e10)
    assert fit(diverging, StopOnDivergence(), epochs=5).current_epoch == 1


def test_divergence_leaves_a_sound_run_alone():
    assert fit(Line(), StopOnDivergence(), epochs=3).current_epoch == 3


def test_what_a_callback_measures_does_not_stop_a_run():
    class Overflowing(L.Callback):
        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
            pl_module.log("train_gradient_norm/layer", torch.tensor(torch.inf))

    trainer = fit(Line(), Overflowing(), StopOnDivergence(), epochs=3)
    assert trainer.current_epoch == 3


def test_gradient_norm_is_that_of_the_last_step():
    trainer = fit(Line(weight=1.0, learning_rate=0.0), GradientNorm(), epochs=1)
    assert trainer.callback_metrics["train/gradient_norm"].item() == pytest.approx(2.0)


def test_gradient_norms_of_layers_make_up_that_of_all():
    one_block = [Block(*samples(10, 16))]
    trainer = regression.fit(Regression(), GradientNorm(), epochs=1, train=one_block)
    metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
    layers = [metrics[f"train_gradient_norm/layers.{layer}"] for layer in (0, 2)]
    assert np.linalg.norm(layers) == pytest.approx(metrics["train/gradient_norm"], rel=1e-6)


def test_throughput_counts_an_epochs_training_samples(monkeypatch):
    clock = iter([1.0, 10.0, 13.0, 50.0, 51.0])  # run, epoch, validation, its end, epoch's end
    monkeypatch.setattr("runlab.callbacks.monitors.time.perf_counter", lambda: next(clock))
    trainer = fit(Line(), Throughput(), epochs=1)
    assert trainer.callback_metrics["timing/samples_per_second"].item() == pytest.approx(8 / 4)


def test_progress_is_silent_without_a_terminal(capsys):
    fit(Line(), Progress("a run"))
    captured = capsys.readouterr()
    assert "a run" not in captured.out + captured.err


def test_progress_tells_run_and_epoch_on_a_terminal(capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    fit(Line(), Progress("[ 3/12] loss=mse"))
    shown = capsys.readouterr().err
    assert "[ 3/12] loss=mse epoch 1/3" in shown
    assert "epoch 3/3" in shown
    assert "val " not in shown, "the module declares no measure"


@pytest.mark.parametrize(
    ("measure", "expected"),
    [
        (Measure("accuracy", "accuracy", unit="%", scale=100.0, digits=2), "val 97.93%"),
        (Measure("accuracy", "time", unit="s", digits=3), "val 0.979 s"),
        (Measure("accuracy", "NLL"), "val 0.9793"),
        (Measure("absent", "absent"), "val nan"),
    ],
)
def test_progress_tells_the_primary_measure_in_its_own_unit(capsys, monkeypatch, measure, expected):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)

    def validation_step(module, batch, batch_index):
        module.log("val/accuracy", torch.tensor(0.9793))

    monkeypatch.setattr(Line, "measures", (measure, Measure("loss", "loss")), raising=False)
    monkeypatch.setattr(Line, "validation_step", validation_step)
    fit(Line(), Progress(), epochs=1)
    assert f", {expected}]" in capsys.readouterr().err


def test_in_a_sweep_one_line_tells_how_far_all_runs_are_and_none_has_a_bar(capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("RUNLAB_LIVE", "1")
    fit(Line(), Progress("a run"))
    assert capsys.readouterr().err == ""
