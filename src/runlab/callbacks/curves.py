"""A run's learning curves as a file beside its record, whatever its loggers are."""

import csv
import io
from pathlib import Path
from typing import Any

import lightning as L
import torch
from torch import Tensor

from runlab import atomic
from runlab.runs.epochs import trained_epochs


class Curves(L.Callback):
    """Writes `curves.csv`, a row for each validation.

    Its columns are `epoch`, trained so far (2.5 in the middle of the third), `step`, and `train/*`
    and `val/*` as they are in `callback_metrics`: what `log_deferred` was given is there as its
    mean over the blocks since the row before. A run that is resumed takes its rows from the
    checkpoint. Comes after the callbacks that log.
    """

    def __init__(self, folder: str | Path) -> None:
        self.path = Path(folder) / "curves.csv"
        self.rows: list[dict[str, float]] = []

    def state_dict(self) -> dict[str, Any]:
        return {"rows": self.rows}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.rows = state_dict["rows"]

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if trainer.state.fn != "fit" or trainer.sanity_checking:
            return
        metrics = metrics_of(trainer, "train/") | metrics_of(trainer, "val/")
        values = torch.stack([value.double().cpu() for value in metrics.values()]).tolist()
        row = {"epoch": float(trained_epochs(trainer)), "step": float(trainer.global_step)}
        self.rows.append(row | dict(zip(metrics, values, strict=True)))
        if trainer.is_global_zero:
            atomic.replace(self.path, to_csv(self.rows).encode())


def metrics_of(trainer: L.Trainer, prefix: str) -> dict[str, Tensor]:
    return {k: value for k, value in trainer.callback_metrics.items() if k.startswith(prefix)}


def to_csv(rows: list[dict[str, float]]) -> str:
    columns = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
