"""One name for a metric, however its module logs it."""

import re
from typing import Any

import lightning as L

from runlab.config.schema import unknown

SPLIT = re.compile(r"(train|val|test)_")

VALIDATED = ("val/", "val_")
"""How a name begins of what a validation measures."""


class LoggedNames(L.Callback):
    """Makes `val_loss`, as Lightning's documentation logs it, readable as `val/loss` too.

    So whatever monitors or records a metric needs to know one of the names. It comes before them.
    """

    blocks_suffice = True

    def on_train_batch_end(self, trainer: L.Trainer, *_: Any) -> None:
        add_names(trainer)

    def on_validation_end(self, trainer: L.Trainer, *_: Any) -> None:
        add_names(trainer)
        if trainer.state.fn == "fit" and not trainer.sanity_checking:
            require_monitors(trainer)

    def on_test_end(self, trainer: L.Trainer, *_: Any) -> None:
        add_names(trainer)

    def on_train_epoch_end(self, trainer: L.Trainer, *_: Any) -> None:
        add_names(trainer)

    def on_train_end(self, trainer: L.Trainer, *_: Any) -> None:
        add_names(trainer)


def require_monitors(trainer: L.Trainer) -> None:
    """Raises ValueError for a callback that follows what no validation measures.

    Lightning says so too, with all names that a run logs.
    """
    callbacks: list[L.Callback] = trainer.callbacks  # type: ignore[attr-defined]
    names = [name for name in trainer.callback_metrics if name.startswith(VALIDATED)]
    for callback in callbacks:
        monitor = getattr(callback, "monitor", None)
        if isinstance(monitor, str) and monitor.startswith(VALIDATED) and monitor not in names:
            own = f"{type(callback).__name__}.monitor={monitor}"
            raise ValueError(unknown(own, monitor, "metric", names))


def add_names(trainer: L.Trainer) -> None:
    metrics = trainer.callback_metrics
    for name, value in list(metrics.items()):
        if SPLIT.match(name):
            metrics[SPLIT.sub(r"\1/", name, count=1)] = value
