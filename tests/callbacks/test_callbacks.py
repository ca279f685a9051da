import sys

import lightning as L
import pytest
import torch
from torch import nn

from runlab.callbacks import GradientNorm, Progress, StopOnDivergence, Throughput


class Line(L.LightningModule):
    """One weight w, loss w² · batch mean; manual optimization in blocks, as the classifier has."""

    def __init__(self, weight: float = 1.0, rate: float = 0.1) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.weight = nn.Parameter(torch.tensor(weight))
        self.rate = rate

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
        return torch.optim.SGD([self.weight], lr=self.rate)


def fit(module: Line, *callbacks: L.Callback, epochs: int = 3) -> L.Trainer:
    batch = (torch.ones(4, 1, 1, 1), torch.zeros(4, dtype=torch.int64))
    loader = torch.utils.data.DataLoader([batch, batch], batch_size=None)
    trainer = L.Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=any(isinstance(callback, Progress) for callback in callbacks),
        callbacks=list(callbacks),
        log_every_n_steps=1,
        num_sanity_val_steps=0,
    )
    trainer.fit(module, loader, loader)
    return trainer


def test_divergence_stops_after_the_epoch_in_which_a_metric_ceased_to_be_finite():
    assert fit(Line(weight=1e30, rate=1e10), StopOnDivergence(), epochs=5).current_epoch == 1


def test_divergence_leaves_a_sound_run_alone():
    assert fit(Line(), StopOnDivergence(), epochs=3).current_epoch == 3


def test_gradient_norm_is_that_of_the_last_step():
    trainer = fit(Line(weight=1.0, rate=0.0), GradientNorm(), epochs=1)
    assert trainer.callback_metrics["train/gradient_norm"].item() == pytest.approx(2.0)


def test_throughput_counts_an_epochs_training_images(monkeypatch):
    clock = iter([1.0, 10.0, 13.0, 50.0, 51.0])  # run, epoch, validation, its end, epoch's end
    monkeypatch.setattr("runlab.callbacks.throughput.time.perf_counter", lambda: next(clock))
    trainer = fit(Line(), Throughput(), epochs=1)
    assert trainer.callback_metrics["timing/images_per_second"].item() == pytest.approx(8 / 4)


def test_progress_is_silent_without_a_terminal(capsys):
    fit(Line(), Progress(label="a run"))
    captured = capsys.readouterr()
    assert "a run" not in captured.out + captured.err


def test_progress_tells_run_epoch_and_accuracy_on_a_terminal(capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    fit(Line(), Progress(label="[ 3/12] loss=mse"))
    shown = capsys.readouterr().err
    assert "[ 3/12] loss=mse epoch 1/3" in shown
    assert "epoch 3/3" in shown


def test_of_runs_that_train_together_one_shows_how_far_they_are(capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)

    class Stack:
        labels = iter([None, None, " and 2 more", ""])  # at the start, then for each epoch

        @property
        def label(self):
            return next(self.labels)

    monkeypatch.setattr(Line, "stack", Stack(), raising=False)
    fit(Line(), Progress(label="a run"))
    shown = capsys.readouterr().err
    assert "epoch 1/3" not in shown
    assert "a run and 2 more epoch 2/3" in shown
    assert "a run epoch 3/3" in shown


def test_what_a_callback_measures_does_not_stop_a_run():
    class Overflowing(L.Callback):
        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
            pl_module.log("train_gradient_norm/layer", torch.tensor(torch.inf))

    trainer = fit(Line(), Overflowing(), StopOnDivergence(), epochs=3)
    assert trainer.current_epoch == 3
