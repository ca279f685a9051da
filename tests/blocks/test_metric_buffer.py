"""What training measures is read at validations, not at each block."""

from functools import partial
from typing import Any

import lightning as L
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger
from torch import nn
from torch.utils.data import DataLoader

from losslab.classifier import Classifier
from losslab.losses import CrossEntropy
from runlab.blocks import metric_buffer

BLOCKS = 4


class Kept(CSVLogger):
    """All that it was given."""

    def __init__(self, folder) -> None:
        super().__init__(folder)
        self.rows: list[tuple[int, dict[str, float]]] = []

    def log_metrics(self, metrics, step=None):
        self.rows.append((step, dict(metrics)))


class Logs(L.Callback):
    """Logs at each block, and notes how many points loggers had by then."""

    def __init__(self, logger: Kept) -> None:
        self.logger, self.seen = logger, []
        self.validated, self.after = [], []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        pl_module.log_deferred("train/own", torch.tensor(float(batch_idx)))
        self.seen.append(len(self.logger.rows))

    def on_validation_end(self, trainer, pl_module):
        self.validated.append(metrics(trainer))

    def on_train_end(self, trainer, pl_module):
        self.after = metrics(trainer)


def metrics(trainer: L.Trainer) -> dict[str, float]:
    return {name: float(value) for name, value in trainer.callback_metrics.items()}


def fit(folder, *others: L.Callback, epochs: int = 1, module=None, **options: Any) -> Logs:
    torch.manual_seed(0)
    batches = [(torch.randn(8, 5), torch.randint(0, 10, (8,))) for _ in range(BLOCKS)]
    logger = Kept(folder)
    logs = Logs(logger)
    loader = DataLoader(batches, batch_size=None)
    trainer = L.Trainer(
        **{"max_epochs": epochs, "accelerator": "cpu", "logger": logger,
           "callbacks": [logs, *others], "log_every_n_steps": 1, "num_sanity_val_steps": 0,
           "default_root_dir": folder, "enable_checkpointing": bool(others),
           "enable_progress_bar": False, "enable_model_summary": False} | options
    )  # fmt: skip
    trainer.fit(module or classifier(), loader, loader)
    return logs


def classifier(rate: Any = 0.1, **scheduler: Any) -> Classifier:
    return Classifier(
        nn.Linear(5, 10), CrossEntropy(), lambda p: torch.optim.SGD(p, lr=rate), num_classes=10,
        **scheduler
    )  # fmt: skip


def curve(logs: Logs, name: str) -> list[tuple[int, float]]:
    return [(step, row[name]) for step, row in logs.logger.rows if name in row]


def test_loggers_get_each_block_as_of_its_step_when_validation_starts(tmp_path):
    logs = fit(tmp_path)
    assert logs.seen == [0] * BLOCKS
    assert curve(logs, "train/own") == [(1, 0.0), (2, 1.0), (3, 2.0), (4, 3.0)]
    assert [step for step, _ in curve(logs, "train/loss")] == [1, 2, 3, 4]
    assert curve(logs, "train/learning_rate") == [(step, 0.1) for step in (1, 2, 3, 4)]


def test_callback_metrics_hold_means_since_the_validation_before(tmp_path):
    logs = fit(tmp_path, epochs=2, val_check_interval=3)
    assert [each["train/own"] for each in logs.validated] == [
        1.0,
        pytest.approx((3 + 0 + 1 + 2) / 4),
    ]
    assert logs.after["train/own"] == 3.0  # of the block that no validation followed


def test_of_epochs_between_validations_too(tmp_path):
    logs = fit(tmp_path, epochs=4, check_val_every_n_epoch=2)
    losses = [value for _, value in curve(logs, "train/loss")]
    assert [each["train/loss"] for each in logs.validated] == [
        pytest.approx(sum(losses[:8]) / 8), pytest.approx(sum(losses[8:]) / 8)
    ]  # fmt: skip


def test_what_another_fit_measured_is_forgotten(tmp_path):
    module = classifier()
    fit(tmp_path, module=module, limit_val_batches=0, max_epochs=1, val_check_interval=3)
    again = fit(tmp_path, module=module, limit_train_batches=1)
    assert again.validated[0]["train/loss"] == curve(again, "train/loss")[0][1]


def test_loggers_get_what_they_ask_for(tmp_path):
    logs = fit(tmp_path, epochs=2, log_every_n_steps=3)
    assert [step for step, _ in curve(logs, "train/loss")] == [3, 6]
    assert logs.validated[-1]["train/own"] == 1.5  # the mean is of all
    assert curve(fit(tmp_path, log_every_n_steps=0), "train/loss") == []


def test_an_epoch_without_validation_is_read_at_its_end(tmp_path):
    logs = fit(tmp_path, epochs=2, limit_val_batches=0)
    assert len(curve(logs, "train/loss")) == 2 * BLOCKS
    assert logs.seen == [0] * BLOCKS + [BLOCKS] * BLOCKS


def test_a_long_epoch_is_read_on_the_way(tmp_path, monkeypatch):
    monkeypatch.setattr(metric_buffer, "MAX_DELAY", -1.0)
    assert fit(tmp_path).seen == [0, 1, 2, 3]


def test_an_epoch_without_validation_has_a_mean_that_can_be_monitored(tmp_path):
    best = ModelCheckpoint(tmp_path / "checkpoints", monitor="train/loss", save_top_k=2)
    logs = fit(tmp_path, best, epochs=2, limit_val_batches=0)
    losses = [value for _, value in curve(logs, "train/loss")]
    assert logs.after["train/loss"] == pytest.approx(sum(losses[BLOCKS:]) / BLOCKS)
    assert logs.after["train/loss"] in [float(score) for score in best.best_k_models.values()]


def test_a_number_that_changes_in_place_is_logged_as_it_was(tmp_path):
    scheduler = partial(torch.optim.lr_scheduler.ExponentialLR, gamma=0.5)
    logs = fit(tmp_path, module=classifier(torch.tensor(0.1), scheduler=scheduler))
    rates = [value for _, value in curve(logs, "train/learning_rate")]
    assert rates == pytest.approx([0.1, 0.05, 0.025, 0.0125])


def test_numbers_of_all_types_keep_their_values(tmp_path):
    class Types(L.Callback):
        def on_train_batch_end(self, trainer, pl_module, *_):
            pl_module.log_deferred("half", torch.tensor(0.5, dtype=torch.bfloat16))
            pl_module.log_deferred("many", torch.tensor(60_001))
            pl_module.log_deferred("true", torch.tensor([True]))
            pl_module.log_deferred("double", torch.tensor(0.1, dtype=torch.float64))
            pl_module.log_deferred("plain", 3)

    row = fit(tmp_path, Types()).logger.rows[0][1]
    names = ("half", "many", "true", "double", "plain")
    assert [row[name] for name in names] == [0.5, 60_001, 1, 0.1, 3]


class Plainly(L.Callback):
    """Logs in Lightning's own way, in this hook."""

    def __init__(self, hook: str, **options: Any) -> None:
        setattr(self, hook, self.write)
        self.options = options

    def write(self, trainer, pl_module, *_):
        pl_module.log("own", float(trainer.global_step), **self.options)


@pytest.mark.parametrize("hook", ["on_train_batch_start", "on_train_batch_end"])
def test_what_lightning_logs_is_on_the_same_axis(tmp_path, hook):
    points = curve(fit(tmp_path, Plainly(hook, prog_bar=True), epochs=2), "own")
    late = hook == "on_train_batch_end"
    assert points == [(step, step if late else step - 1) for step in range(1, 2 * BLOCKS + 1)]


def test_at_the_end_of_an_epoch_too(tmp_path):
    logs = fit(tmp_path, Plainly("on_train_epoch_end"), epochs=2)
    assert curve(logs, "own") == [(BLOCKS, BLOCKS), (2 * BLOCKS, 2 * BLOCKS)]


@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        (torch.zeros(2), ValueError, r"one number to log as train/two, got .* shape \(2,\)"),
        (None, TypeError, "None"),
    ],
)
def test_what_is_no_number_is_refused_at_once(tmp_path, value, error, message):
    class Two(L.Callback):
        def on_train_batch_end(self, trainer, pl_module, *_):
            with pytest.raises(error, match=message):
                pl_module.log_deferred("train/two", value)

    fit(tmp_path, Two())


def test_what_only_an_epochs_start_or_end_logs_leaves_no_empty_rows(tmp_path):
    logs = fit(tmp_path, Plainly("on_train_epoch_start"), epochs=2, limit_val_batches=0)
    assert curve(logs, "own") == [(BLOCKS, 0), (2 * BLOCKS, BLOCKS)]
    assert all(row for _, row in logs.logger.rows)
