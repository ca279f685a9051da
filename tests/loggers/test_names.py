"""Which names a callback may follow."""

import lightning as L
import pytest
import torch
from lightning.pytorch.callbacks import EarlyStopping

from runlab.loggers.names import require_monitors


@pytest.fixture
def trainer_of(monkeypatch):
    """A trainer after a validation that has measured `val/loss`, by what a callback follows."""
    metrics = {"val/loss": torch.tensor(1.0), "val_loss": torch.tensor(1.0)}
    monkeypatch.setattr(L.Trainer, "callback_metrics", metrics)
    return lambda monitor: L.Trainer(
        accelerator="cpu", logger=False, enable_checkpointing=False,
        callbacks=[EarlyStopping(monitor)],
    )  # fmt: skip


@pytest.mark.parametrize("monitor", ["val/loss", "val_loss", "value_loss", "train/loss"])
def test_what_no_validation_measures_may_still_come(trainer_of, monitor):
    require_monitors(trainer_of(monitor))


@pytest.mark.parametrize("monitor", ["val/nope", "val_nope"])
def test_what_a_validation_ought_to_have_measured_has_to_be_there(trainer_of, monitor):
    with pytest.raises(ValueError, match=f"unknown metric EarlyStopping.monitor={monitor}"):
        require_monitors(trainer_of(monitor))
