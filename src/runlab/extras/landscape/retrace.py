"""The way a run took through weight space: no run keeps it, but each can be trained again."""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import lightning as L
import numpy as np
import torch
from hydra.utils import get_object
from jaxtyping import Float32
from lightning.pytorch.callbacks import Checkpoint, ProgressBar
from omegaconf import DictConfig, OmegaConf
from torch import Tensor, nn
from torch.optim import Optimizer

from runlab.extras.landscape.choice import Run
from runlab.extras.reproduce import require_data
from runlab.runs import checkpoint
from runlab.train import parts

SNAPSHOTS = 60
WATCHERS = (Checkpoint, ProgressBar)
"""Callbacks that change nothing of what is trained; any other stays, since it may end a run."""


@dataclass(frozen=True)
class Descent:
    """A run's network as it ended, and its weights from step 0 to the last.

    Attributes:
        drift: the largest difference between the last weights and those in the run's `last.ckpt`;
            None if it has no such file.
    """

    network: nn.Module
    loss: nn.Module
    device: torch.device
    steps: list[int]
    weights: Float32[Tensor, "snapshots weights"]
    drift: float | None


class Snapshots(L.Callback):
    """Copies the weights before some optimizer steps, which it spaces itself, and at the end."""

    def __init__(self) -> None:
        self.at: set[int] = set()
        self.steps: list[int] = []
        self.weights: list[Tensor] = []

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        per_epoch = trainer.datamodule.steps_per_epoch  # type: ignore[attr-defined]
        self.at = spaced(per_epoch * (trainer.max_epochs or 1))

    def on_before_optimizer_step(
        self, trainer: L.Trainer, pl_module: L.LightningModule, optimizer: Optimizer
    ) -> None:
        if trainer.global_step in self.at:
            self.take(trainer, pl_module)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.take(trainer, pl_module)

    def take(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.steps.append(trainer.global_step)
        self.weights.append(flat(pl_module.network))  # type: ignore[arg-type]


def spaced(steps: int) -> set[int]:
    """About 60 of so many steps: at first geometric, since early steps go far, then uniform."""
    half = SNAPSHOTS // 2
    series = np.concatenate([[0], np.geomspace(1, steps, half), np.linspace(0, steps, half)])
    return set(series.round().astype(int).tolist())


def flat(network: nn.Module) -> Float32[Tensor, " weights"]:
    """All parameters one after another, on the CPU."""
    return torch.cat([p.detach().float().cpu().flatten() for p in network.parameters()])


def retrace(run: Run, data: Mapping[str, Any]) -> Descent:
    """Trains the run again, in a temporary folder; its own stays as it is.

    Args:
        data: the configuration of its data on this machine.

    Raises:
        ValueError: if the data are other ones, or the run was trained on several devices.
    """
    require_data(run.record["provenance"]["data"], data)
    threads = torch.get_num_threads()
    try:
        with tempfile.TemporaryDirectory() as folder:
            return descend(run, unwatched(run, data, folder))
    finally:
        torch.set_num_threads(threads)


def unwatched(run: Run, data: Mapping[str, Any], folder: str) -> DictConfig:
    """The run's configuration without loggers, checkpoints and bars, which writes into `folder`."""
    callbacks = run.config.get("callback") or {}
    changes = {
        "data": data,
        "logger": None,
        "callback": {name: node for name, node in callbacks.items() if not watches(node)},
        "run": {"name": run.folder.name, "position": "", "folder": folder},
    }
    return OmegaConf.create({**run.config, **changes})


def watches(node: Mapping[str, Any]) -> bool:
    target = get_object(node["_target_"])
    return isinstance(target, type) and issubclass(target, WATCHERS)


def descend(run: Run, cfg: DictConfig) -> Descent:
    snapshots = Snapshots()
    data, classifier, trainer = parts(cfg, run.config, snapshots)
    if trainer.world_size > 1:
        raise ValueError(
            f"expected runs trained on one device, got {run.folder.name} on {trainer.world_size}, "
            "whose path no one process sees: train its sweep with trainer.devices=1"
        )
    trainer.fit(classifier, datamodule=data)
    weights = torch.stack(snapshots.weights)
    return Descent(
        network=classifier.network,
        loss=classifier.loss,
        device=trainer.strategy.root_device,
        steps=snapshots.steps,
        weights=weights,
        drift=drift(run, weights[-1]),
    )


def drift(run: Run, end: Float32[Tensor, " weights"]) -> float | None:
    path = run.folder / "checkpoints" / "last.ckpt"
    if not path.exists():
        return None
    classifier, _ = checkpoint.load(path)
    return float((flat(classifier.network) - end).abs().max())
