"""A run's path through weight space: no run keeps it, but each can be trained again."""

import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import lightning as L
import numpy as np
import torch
from jaxtyping import Float, Float32, Num
from lightning.pytorch.callbacks import Checkpoint, ProgressBar
from omegaconf import DictConfig
from torch import Tensor, nn
from torch.optim import Optimizer

from runlab.blocks.block import Block
from runlab.components import build_components, received_data, require_data, to_train_again
from runlab.config import received
from runlab.config.targets import find
from runlab.extras.landscape.choice import ChosenRun
from runlab.module import require_network
from runlab.runs import checkpoint
from runlab.runs.epochs import steps_in

SNAPSHOTS = 60
OUTPUT_CALLBACKS = (Checkpoint, ProgressBar)
"""Callbacks that change nothing of what is trained; any other stays, since it may end a run."""


@dataclass(frozen=True)
class Trajectory:
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
        per_epoch = steps_in(trainer, trainer.num_training_batches)
        self.at = snapshot_steps(per_epoch * (trainer.max_epochs or 1))

    def on_before_optimizer_step(
        self, trainer: L.Trainer, pl_module: L.LightningModule, optimizer: Optimizer
    ) -> None:
        if trainer.global_step in self.at:
            self.take(trainer, pl_module)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.take(trainer, pl_module)

    def take(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.steps.append(trainer.global_step)
        self.weights.append(flatten_weights(pl_module.network))  # type: ignore[arg-type]


def snapshot_steps(steps: int) -> set[int]:
    """About 60 of so many steps: at first geometric, since early steps go far, then uniform."""
    half = SNAPSHOTS // 2
    series = np.concatenate([[0], np.geomspace(1, steps, half), np.linspace(0, steps, half)])
    return set(series.round().astype(int).tolist())


def flatten_weights(network: nn.Module) -> Float32[Tensor, " weights"]:
    """All parameters one after another, on the CPU."""
    return torch.cat([p.detach().float().cpu().flatten() for p in network.parameters()])


def retrain(run: ChosenRun, config: Mapping[str, Any]) -> Trajectory:
    """Trains the run again, in a temporary folder; its own stays as it is.

    Args:
        config: its own, with its data on this machine.

    Raises:
        ValueError: if the data are other ones, the run was trained on several devices, or its
            configuration names what it may not.
    """
    threads = torch.get_num_threads()
    try:
        with tempfile.TemporaryDirectory() as folder:
            cfg = without_output(config, run.folder.name, folder)
            require_data(run.record["provenance"]["data"], received_data(config), run.folder)
            return train_again(run, cfg)
    finally:
        torch.set_num_threads(threads)


def without_output(config: Mapping[str, Any], name: str, folder: str) -> DictConfig:
    """The run's configuration without loggers, checkpoints and bars, which writes into `folder`."""
    received.check(config, runs=False)
    callbacks = {
        each: node
        for each, node in (config.get("callback") or {}).items()
        if not is_output(f"callback.{each}", node)
    }
    kept = {**config, "logger": None, "callback": callbacks}
    return to_train_again(kept, name=name, label=name, position="", folder=folder)


def is_output(key: str, node: Mapping[str, Any]) -> bool:
    target = find(f"{key}._target_", node.get("_target_"), L.Callback)
    return isinstance(target, type) and issubclass(target, OUTPUT_CALLBACKS)


def train_again(run: ChosenRun, cfg: DictConfig) -> Trajectory:
    snapshots = Snapshots()
    data, built, trainer = build_components(cfg, run.config, snapshots)
    module = require_network(built)
    if trainer.world_size > 1:
        raise ValueError(
            f"expected runs trained on one device, got {run.folder.name} on {trainer.world_size}, "
            "whose path no one process sees: train its sweep with trainer.devices=1"
        )
    trainer.fit(module, datamodule=data)
    weights = torch.stack(snapshots.weights)
    return Trajectory(
        network=module.network,
        loss=module.loss,
        device=trainer.strategy.root_device,
        steps=snapshots.steps,
        weights=weights,
        drift=drift(run, weights[-1]),
    )


def drift(run: ChosenRun, end: Float32[Tensor, " weights"]) -> float | None:
    path = run.folder / "checkpoints" / "last.ckpt"
    if not path.exists():
        return None
    module, _ = checkpoint.load(path)
    network: nn.Module = module.network  # type: ignore[assignment]
    return float((flatten_weights(network) - end).abs().max())


SEED = 20_260
"""Of the permutation whose first samples are taken; no run has it by chance as its own order."""


def training_samples(
    config: Mapping[str, Any], count: int
) -> tuple[Float[Tensor, "samples ..."], Num[Tensor, "samples ..."]]:
    """The first of a permutation of the training split, as training gets them; fewer if it is less.

    Random transforms, where the data have them, are drawn once, by a fixed seed.
    """
    node = config["data"]
    seeded = {**node, "seed": SEED} if "seed" in node else node
    data = received_data({"data": seeded})
    data.setup("fit")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        batches = list(batches_of(data, count))
    inputs, targets = (torch.cat(parts)[:count] for parts in zip(*batches, strict=True))
    return inputs, targets


def batches_of(data: Any, count: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches of an epoch until they hold that many samples."""
    for batch in data.train_dataloader():
        inputs, targets = data.on_after_batch_transfer(batch, 0)
        if isinstance(batch, Block):
            inputs, targets = inputs.flatten(0, 1), targets.flatten(0, 1)
            inputs = data.normalize(inputs) if inputs.dtype == torch.uint8 else inputs
        yield inputs, targets
        count -= len(targets)
        if count <= 0:
            return
