"""A tiny regression, trained in blocks of steps: for callbacks that need no particular data."""

from collections import OrderedDict
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import ProgressBar
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn
from torch.utils.data import IterableDataset

from runlab.blocks.block import Block
from runlab.measure import Measure
from runlab.module import Module

BLOCKS = (4, 4, 2)
"""Steps of the blocks of an epoch."""


class Regression(Module):
    """Two affine layers, `layers.0` and `layers.2`, trained on the squared error by plain SGD."""

    measures = (Measure("loss", "loss"),)

    def __init__(self, learning_rate: float = 0.05) -> None:
        torch.manual_seed(0)
        layers = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1), nn.Flatten(0))
        super().__init__(
            network=nn.Sequential(OrderedDict(layers=layers)),
            loss=nn.MSELoss(),
            optimizer=partial(torch.optim.SGD, lr=learning_rate),
        )


def samples(*shape: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Inputs [*shape, 3] and targets [*shape]."""
    inputs = torch.randn(*shape, 3, generator=torch.Generator().manual_seed(0))
    return inputs, inputs.sum(dim=-1).sin()


def fit(
    module: L.LightningModule,
    *callbacks: L.Callback,
    epochs: int = 2,
    logger: Any = False,
    train: Sequence[Any] = tuple(Block(*samples(steps, 16)) for steps in BLOCKS),
    val: Sequence[Any] = (samples(8),),
    **options: Any,
) -> L.Trainer:
    """Trains on these batches in this order; `options` are the Trainer's."""
    train_loader, val_loader = (
        torch.utils.data.DataLoader(
            batches if isinstance(batches, IterableDataset) else list(batches), batch_size=None
        )
        for batches in (train, val)
    )
    defaults: dict[str, Any] = {"log_every_n_steps": 1, "num_sanity_val_steps": 0}
    trainer = L.Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        logger=logger,
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=any(isinstance(each, ProgressBar) for each in callbacks),
        callbacks=list(callbacks),
        **defaults | options,
    )
    trainer.fit(module, train_loader, val_loader)
    return trainer


def events(folder: Path) -> EventAccumulator:
    """What TensorBoard would read in that folder, all of it."""
    everything = {"scalars": 0, "images": 0, "histograms": 0, "tensors": 0}
    return EventAccumulator(str(folder), size_guidance=everything).Reload()


def scalars(folder: Path, tag: str) -> list[float]:
    return [event.value for event in events(folder).Scalars(tag)]
