"""What training measures is read at validations, not at each block."""

from typing import Any

import lightning as L
import pytest
import torch
from lightning.pytorch.loggers import CSVLogger
from torch import nn
from torch.utils.data import DataLoader

from losslab import points
from losslab.classifier import Classifier
from losslab.losses import CrossEntropy

BLOCKS = 4


class Kept(CSVLogger):
    """All that it was given, and during which hook of the callback below."""

    def __init__(self, folder) -> None:
        super().__init__(folder)
        self.rows: list[tuple[int, dict[str, float]]] = []

    def log_metrics(self, metrics, step=None):
        self.rows.append((step, dict(metrics)))


class Logs(L.Callback):
    """Logs at each block, and notes how many points loggers had by then."""

    def __init__(self, logger: Kept, **options: Any) -> None:
        self.logger, self.options, self.seen = logger, options, []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        pl_module.log("train/own", torch.tensor(float(batch_idx)), **self.options)
        self.seen.append(len(self.logger.rows))

    def on_validation_end(self, trainer, pl_module):
        self.metrics = {k: float(v) for k, v in trainer.callback_metrics.items()}


def fit(folder, *, epochs: int = 1, options: dict[str, Any] | None = None, **trainer_options):
    torch.manual_seed(0)
    batches = [(torch.randn(8, 5), torch.randint(0, 10, (8,))) for _ in range(BLOCKS)]
    logger = Kept(folder)
    logs = Logs(logger, **(options or {}))
    module = Classifier(
        nn.Linear(5, 10), CrossEntropy(), lambda p: torch.optim.SGD(p, lr=0.1), num_classes=10
    )
    loader = DataLoader(batches, batch_size=None)
    trainer = L.Trainer(
        **{"max_epochs": epochs, "accelerator": "cpu", "logger": logger, "callbacks": [logs],
           "enable_checkpointing": False, "enable_progress_bar": False, "log_every_n_steps": 1,
           "enable_model_summary": False, "num_sanity_val_steps": 0} | trainer_options
    )  # fmt: skip
    trainer.fit(module, loader, loader)
    return logs


def curve(logs: Logs, name: str) -> list[tuple[int, float]]:
    return [(step, row[name]) for step, row in logs.logger.rows if name in row]


def test_loggers_get_each_block_as_of_its_step_when_validation_starts(tmp_path):
    logs = fit(tmp_path)
    assert logs.seen == [0] * BLOCKS
    assert curve(logs, "train/own") == [(1, 0.0), (2, 1.0), (3, 2.0), (4, 3.0)]
    assert [step for step, _ in curve(logs, "train/loss")] == [1, 2, 3, 4]
    assert curve(logs, "train/learning_rate") == [(step, 0.1) for step in (1, 2, 3, 4)]


def test_callback_metrics_hold_means_since_the_validation_before(tmp_path):
    logs = fit(tmp_path, val_check_interval=2)
    assert logs.metrics["train/own"] == pytest.approx((2 + 3) / 2)


def test_loggers_get_what_they_ask_for(tmp_path):
    logs = fit(tmp_path, epochs=2, log_every_n_steps=3)
    assert [step for step, _ in curve(logs, "train/loss")] == [3, 6]
    assert logs.metrics["train/own"] == pytest.approx(1.5)  # the mean is of all


def test_an_epoch_without_validation_is_read_at_its_end(tmp_path):
    logs = fit(tmp_path, epochs=2, limit_val_batches=0)
    assert len(curve(logs, "train/loss")) == 2 * BLOCKS
    assert logs.seen == [0] * BLOCKS + [BLOCKS] * BLOCKS


def test_a_long_epoch_is_read_on_the_way(tmp_path, monkeypatch):
    monkeypatch.setattr(points, "PATIENCE", -1.0)
    assert fit(tmp_path).seen == [0, 1, 2, 3]


def test_what_has_lightnings_options_is_logged_at_once_on_the_same_axis(tmp_path):
    logs = fit(tmp_path, options={"prog_bar": True})
    assert logs.seen == [0, 1, 2, 3]
    assert curve(logs, "train/own") == [(1, 0.0), (2, 1.0), (3, 2.0), (4, 3.0)]


def test_what_is_no_number_is_refused_as_by_lightning(tmp_path):
    class Two(L.Callback):
        def on_train_batch_end(self, trainer, pl_module, *_):
            pl_module.log("train/two", torch.zeros(2))

    with pytest.raises(ValueError, match="train/two"):
        fit(tmp_path, callbacks=[Two(), Logs(Kept(tmp_path))])
