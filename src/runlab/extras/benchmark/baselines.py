"""Ways to train the same network on the same samples; each tells how long a step takes."""

import gc
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from copy import deepcopy
from itertools import count, islice
from typing import Any, Protocol, TypeVar, runtime_checkable

import lightning as L
import torch
from lightning.fabric.utilities.warnings import PossibleUserWarning
from lightning.pytorch.loggers import TensorBoardLogger
from omegaconf import DictConfig, OmegaConf
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from runlab.components import build_components
from runlab.extras.benchmark.arithmetic import OptimizerFactory, clock

T = TypeVar("T")
S = TypeVar("S", bound="Stopwatch")


@runtime_checkable
class Baseline(Protocol):
    name: str
    description: str

    def run(self, steps: int) -> float:
        """Seconds per optimizer step, over exactly so many, from the same start every time."""


class Stopwatch(L.Callback):
    """Counts from `on_train_start` to `on_train_end`, but not between a validation's start and end.

    Placed first among the callbacks, it also counts what is done as a validation starts, when
    loggers get what training measured, and what other callbacks do at its end, such as writing the
    best checkpoint. `started` and `ended` are readings of the clock.
    """

    def __init__(self) -> None:
        self.seconds = 0.0
        self.steps = 0

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.started = self.resumed = clock(pl_module.device)

    def on_validation_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.seconds += clock(pl_module.device) - self.resumed

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.resumed = clock(pl_module.device)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.ended = clock(pl_module.device)
        self.seconds += self.ended - self.resumed
        self.steps = trainer.global_step

    def seconds_per_step(self, steps: int) -> float:
        if self.steps != steps:
            raise ValueError(
                f"expected {steps} optimizer steps, got {self.steps}; choose a trainer that trains "
                f"whole epochs (default, cpu, gpu) and a learning rate that does not diverge"
            )
        return self.seconds / steps


class Bare:
    name = "bare loop"
    description = (
        "plain PyTorch: uint8 samples on the device, indexed by a permutation and normalized "
        "on the fly; no logging, no validation"
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
        optimizer = self.optimizer(self.network.parameters())
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
    name = "losslab"
    description = "what scripts/train.py runs, with its callbacks, TensorBoard and checkpoints"

    def __init__(self, cfg: DictConfig, steps_per_epoch: int) -> None:
        self.cfg, self.steps_per_epoch = cfg, steps_per_epoch
        self.block = cfg.data.steps_per_execution if cfg.data.loader == "tensor" else 1
        self.shortest = min(self.block, steps_per_epoch)
        self.outside: list[float] = []
        """Seconds of each run in which it did not train: building the parts, set-up, validation."""

    def run(self, steps: int) -> float:
        with tempfile.TemporaryDirectory() as folder:
            started = time.perf_counter()
            stopwatch = self.train(self.configured(steps, folder), Stopwatch())
            total = time.perf_counter() - started
        self.outside.append(total - stopwatch.seconds)
        return stopwatch.seconds_per_step(steps)

    def train(self, cfg: DictConfig, stopwatch: S) -> S:
        config: Any = OmegaConf.to_container(cfg, resolve=True)
        data, module, trainer = build_components(cfg, config)
        trainer.callbacks.insert(0, stopwatch)  # type: ignore[attr-defined]
        trainer.fit(module, datamodule=data)
        self.network = module.network
        return stopwatch

    def configured(self, steps: int, folder: str) -> DictConfig:
        cfg = self.cfg.copy()
        cfg.run.folder = folder
        cfg.trainer.max_epochs, limit = self.length(steps)
        OmegaConf.update(cfg, "trainer.limit_train_batches", limit, force_add=True)
        return cfg

    def length(self, steps: int) -> tuple[int, int | float]:
        """Epochs, and blocks of an epoch: a number, or 1.0 for all."""
        epochs, rest = divmod(steps, self.steps_per_epoch)
        if (epochs and rest) or (not epochs and rest % self.block):
            raise ValueError(
                f"expected steps in whole epochs of {self.steps_per_epoch}, or fewer in whole "
                f"blocks of {self.block} (data.steps_per_execution), got {steps}"
            )
        return (epochs, 1.0) if epochs else (1, steps // self.block)


class LightningWithDataLoader:
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
            "as templates do it: torchvision's data set with ToTensor and Normalize per sample, "
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
        return self.optimizer(self.parameters())


def run_interleaved(
    baselines: Sequence[Baseline],
    between: Callable[[], None],
    steps: int,
    rounds: int,
) -> dict[str, list[float]]:
    """Seconds per step of each baseline, one a round; `between` is called before each round."""
    seconds: dict[str, list[float]] = {baseline.name: [] for baseline in baselines}
    for number in tqdm(range(rounds), "rounds", leave=False, disable=None):
        between()
        for baseline in rotated(baselines, number):
            seconds[baseline.name].append(run_once(baseline, steps))
    return seconds


def run_once(baseline: Baseline, steps: int) -> float:
    gc.collect()
    with torch_settings_restored():
        return baseline.run(steps)


def rotated(values: Sequence[T], number: int) -> list[T]:
    start = number % len(values)
    return [*values[start:], *values[:start]]


@contextmanager
def torch_settings_restored() -> Iterator[None]:
    """Lightning's Trainer sets determinism for the whole process: the others did not ask for it."""
    mode = torch.get_deterministic_debug_mode()
    cudnn = torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic
    try:
        yield
    finally:
        torch.set_deterministic_debug_mode(mode)
        torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic = cudnn
