"""What a run needs of its parts for what was asked, said before anything is trained."""

import logging
from collections.abc import Sequence
from functools import cache
from math import sqrt
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.utilities.model_helpers import is_overridden

from runlab.data import TensorData
from runlab.measure import Measure

log = logging.getLogger(__name__)

LARGEST_ERROR = 0.1
"""A standard error, of a share of samples, by which no learning rate can be chosen.

Neighbours in a grid of rates differ by a few points. They are measured on the same samples, of
which they judge a share d differently: their difference has the error √(d / n), as large as that
of one share at its largest, 0.5 / √n, where d is a quarter. A tenth is several times what is to be
seen, so with fewer than 25 samples the choice is chance. With more it depends on d.
"""


def require(data: Any, trainer: L.Trainer, measures: Sequence[Measure]) -> None:
    """Raises ValueError unless the data and the callbacks are enough for a run.

    A run without validation data keeps no best checkpoint: its last weights are tested.
    """
    if not isinstance(data, L.LightningDataModule):
        raise ValueError(
            f"expected data to be a LightningDataModule, got a {type(data).__name__}: derive from "
            "it, or from runlab.TensorData for what fits in memory"
        )
    for loader, what in (
        ("train_dataloader", "to train"),
        ("test_dataloader", "to test at the end"),
    ):
        if not is_overridden(loader, data):
            raise ValueError(
                f"expected data with a {loader}, {what}, got {type(data).__name__} without one: "
                "add that method to it"
            )
    if not has_validation(data):
        trainer.limit_val_batches = 0
    if trainer.limit_val_batches == 0:
        leave_out_validation(trainer)
    elif isinstance(data, TensorData) and measures and is_whole(trainer.limit_val_batches):
        warn_of_small_validation(len(data.split.val), measures[0])


def is_whole(limit: int | float) -> bool:
    """1 is one batch."""
    return isinstance(limit, float) and limit == 1.0


def has_validation(data: L.LightningDataModule) -> bool:
    if isinstance(data, TensorData):
        return len(data.split.val) > 0
    return is_overridden("val_dataloader", data)


def leave_out_validation(trainer: L.Trainer) -> None:
    """Drops the checkpoint that is the best of validations.

    Raises:
        ValueError: for any other callback that waits for one.
    """
    callbacks: list[L.Callback] = trainer.callbacks  # type: ignore[attr-defined]
    for callback in list(callbacks):
        if not str(getattr(callback, "monitor", "")).startswith("val/"):
            continue
        if not isinstance(callback, ModelCheckpoint):
            raise ValueError(
                f"expected validation data for {type(callback).__name__}, which monitors "
                f"{callback.monitor}, got none: set data.val_size above 0, give the data module a "  # type: ignore[attr-defined]
                "val_dataloader, or drop the callback by ~callback.…"
            )
        callbacks.remove(callback)


@cache  # a sweep's runs have it in common
def warn_of_small_validation(samples: int, primary: Measure) -> None:
    """Where the primary measure is a share of samples, its error is binomial: √(p (1 − p) / n)."""
    error = 0.5 / sqrt(samples)  # the largest, at p = ½
    if primary.proportion and error > LARGEST_ERROR:
        log.warning(
            "%d validation samples tell %s with a standard error of up to %.0f %s, which is too "
            "much to choose weights or learning rates by: validate on more (data.val_size, "
            "trainer.limit_val_batches), or set data.val_size=0 to train on all samples and test "
            "the last weights",
            samples,
            primary.title,
            primary.scale * error,
            primary.difference_unit or primary.unit,
        )
