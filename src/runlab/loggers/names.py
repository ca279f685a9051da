"""One name for a metric, however its module logs it."""

import re
from typing import Any

import lightning as L

SPLIT = re.compile(r"(train|val|test)_")


class LoggedNames(L.Callback):
    """Makes `val_loss`, as Lightning's documentation logs it, readable as `val/loss` too.

    So whatever monitors or records a metric needs to know one of the names. It comes before them.
    """

    blocks_suffice = True

    def on_train_batch_end(self, trainer: L.Trainer, *_: Any) -> None:
        add_names(trainer)

    def on_validation_end(self, trainer: L.Trainer, *_: Any) -> None:
        add_names(trainer)

    def on_test_end(self, trainer: L.Trainer, *_: Any) -> None:
        add_names(trainer)

    def on_train_epoch_end(self, trainer: L.Trainer, *_: Any) -> None:
        add_names(trainer)

    def on_train_end(self, trainer: L.Trainer, *_: Any) -> None:
        add_names(trainer)


def add_names(trainer: L.Trainer) -> None:
    metrics = trainer.callback_metrics
    for name, value in list(metrics.items()):
        if SPLIT.match(name):
            metrics[SPLIT.sub(r"\1/", name, count=1)] = value
