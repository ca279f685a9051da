"""Ways to train the same network on the same samples: by hand, as this template, as others do."""

import tempfile
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from copy import deepcopy
from itertools import count, islice
from typing import Any, TypeVar

import lightning as L
import torch
from lightning.fabric.utilities.warnings import PossibleUserWarning
from lightning.pytorch.loggers import TensorBoardLogger
from omegaconf import DictConfig, OmegaConf
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.data import DataLoader, Dataset

from runlab.components import build_components
from runlab.extras.benchmark.timing import Stopwatch, clock
from runlab.module import OptimizerFactory

S = TypeVar("S", bound=Stopwatch)


class BareLoop:
    name = "bare loop"
    description = (
        "plain PyTorch: uint8 inputs on the device, indexed by a permutation and normalised on the "
        "fly; no logging, no validation"
    )

    def __init__(
        self,
        network: nn.Module,
        loss: nn.Module,
        optimizer: OptimizerFactory,
        loader: Any,
        mean: float,
        std: float,
        device: torch.device,
        autocast: torch.dtype | None = None,
    ) -> None:
        self.initial, self.loss, self.optimizer = network.to(device), loss.to(device), optimizer
        self.inputs, self.targets = loader.data.to(device)
        self.sampler, self.batch_size = loader.sampler, loader.batch_size
        self.shift, self.scale = 255 * mean, 1 / (255 * std)
        self.device = device
        self.precision = torch.autocast(device.type, autocast) if autocast else nullcontext()

    def run(self, steps: int) -> float:
        self.network = deepcopy(self.initial)
        optimizer = self.optimizer(self.network.named_parameters())
        started = clock(self.device)
        for inputs, targets in islice(self.batches(), steps):
            optimizer.zero_grad()
            with self.precision:
                loss = self.loss(self.network(inputs), targets)
            loss.backward()
            optimizer.step()
        return (clock(self.device) - started) / steps

    def batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        for epoch in count():
            self.sampler.set_epoch(epoch)
            for indices in self.sampler.order().to(self.device).split(self.batch_size):
                inputs = self.inputs.index_select(0, indices).float()
                targets = self.targets.index_select(0, indices)
                yield inputs.sub_(self.shift).mul_(self.scale), targets


class Template:
    """One run of this template.

    Attributes:
        block_size: the optimizer steps that its training step takes at once.
        fewest_steps: that it can train for.
        seconds_outside_training: of each `run`: building its components, set-up, validation.
    """

    name = "losslab"
    description = "what the command train runs, with its callbacks, TensorBoard and checkpoints"

    def __init__(self, cfg: DictConfig, steps_per_epoch: int) -> None:
        self.cfg, self.steps_per_epoch = cfg, steps_per_epoch
        self.block_size = cfg.data.steps_per_execution if cfg.data.loader == "tensor" else 1
        self.fewest_steps = min(self.block_size, steps_per_epoch)
        self.seconds_outside_training: list[float] = []

    def run(self, steps: int) -> float:
        with tempfile.TemporaryDirectory() as folder:
            started = time.perf_counter()
            stopwatch = self.train(self.configure(steps, folder), Stopwatch())
            total = time.perf_counter() - started
        self.seconds_outside_training.append(total - stopwatch.seconds)
        return stopwatch.seconds_per_step(steps)

    def train(self, cfg: DictConfig, stopwatch: S) -> S:
        config: Any = OmegaConf.to_container(cfg, resolve=True)
        data, module, trainer = build_components(cfg, config)
        trainer.callbacks.insert(0, stopwatch)  # type: ignore[attr-defined]
        trainer.fit(module, datamodule=data)
        self.network = module.network
        return stopwatch

    def configure(self, steps: int, folder: str) -> DictConfig:
        """The configuration of a run of so many steps."""
        cfg = self.cfg.copy()
        cfg.run.folder = folder
        cfg.trainer.max_epochs, limit = self.length(steps)
        OmegaConf.update(cfg, "trainer.limit_train_batches", limit, force_add=True)
        return cfg

    def length(self, steps: int) -> tuple[int, int | float]:
        """Epochs, and steps of an epoch: a number, or 1.0 for all.

        Raises:
            ValueError: for steps that are neither whole epochs nor whole blocks of one.
        """
        epochs, rest = divmod(steps, self.steps_per_epoch)
        if (epochs and rest) or (not epochs and rest % self.block_size):
            raise ValueError(
                f"expected steps in whole epochs of {self.steps_per_epoch}, or fewer in whole "
                f"blocks of {self.block_size} (data.steps_per_execution), got {steps}"
            )
        return (epochs, 1.0) if epochs else (1, steps)


class LightningDataLoader:
    """As users of templates write it."""

    def __init__(
        self,
        network: nn.Module,
        loss: nn.Module,
        optimizer: OptimizerFactory,
        dataset: Dataset[Any],
        batch_size: int,
        workers: int,
        **trainer: Any,
    ) -> None:
        self.name = f"Lightning, {workers} workers"
        self.description = (
            "as templates do it: ToTensor and Normalize per image, as of torchvision's data sets, "
            f"DataLoader(shuffle=True, num_workers={workers}), automatic optimization, self.log of "
            "the loss, TensorBoard and checkpoint"
        )
        self.initial, self.loss, self.optimizer = network, loss, optimizer
        self.dataset, self.batch_size, self.workers = dataset, batch_size, workers
        self.trainer = trainer

    def run(self, steps: int) -> float:
        loader = DataLoader(
            self.dataset, self.batch_size, shuffle=True, num_workers=self.workers, drop_last=True
        )
        module = PlainModule(deepcopy(self.initial), self.loss, self.optimizer)
        stopwatch = Stopwatch()
        with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
            warnings.simplefilter("ignore", PossibleUserWarning)  # it recommends other settings
            trainer = L.Trainer(
                max_steps=steps,
                logger=TensorBoardLogger(folder),
                callbacks=[stopwatch],
                enable_progress_bar=False,
                enable_model_summary=False,
                **self.trainer,
            )
            trainer.fit(module, loader)
        return stopwatch.seconds_per_step(steps)


class PlainModule(L.LightningModule):
    def __init__(self, network: nn.Module, loss: nn.Module, optimizer: OptimizerFactory) -> None:
        super().__init__()
        self.network, self.loss, self.optimizer = network, loss, optimizer

    def training_step(self, batch: Sequence[Tensor], batch_idx: int) -> Tensor:
        inputs, targets = batch
        loss = self.loss(self.network(inputs), targets)
        self.log("train/loss", loss)
        return loss

    def configure_optimizers(self) -> Optimizer:
        return self.optimizer(self.named_parameters())
