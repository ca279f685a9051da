"""TensorData: the LightningDataModule to derive from, for whatever fits in memory."""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import lightning as L
import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor
from torch.utils.data import DataLoader

from runlab.blocks.block import Block
from runlab.blocks.loader import SampleDataset, Samples, TensorLoader, sample_loader
from runlab.blocks.plan import BlockPlan
from runlab.blocks.sampler import EpochSampler, FixedSampler, stratified_split
from runlab.blocks.size import plan_blocks

LOADERS = ("tensor", "dataloader")

Loader = TensorLoader | DataLoader[tuple[Tensor, Any]]


class Content(NamedTuple):
    """What a data set holds, in CPU memory, and a digest that tells it from any other content."""

    train: Samples
    test: Samples
    checksum: str


class TensorData(L.LightningDataModule):
    """The training samples, split in two, and the test samples, as tensors on the training device.

    A subclass writes `read`, and `normalize` if its inputs are bytes (uint8). The split is
    stratified by target and depends on `split_seed` alone; the order of the batches depends on
    `seed` and the epoch alone. `batch_size` counts all devices together.

    `loader="tensor"` keeps all samples on the training device and gives a `runlab.Module` up to
    `steps_per_execution` batches at once: inputs [steps, batch, ...], targets [steps, batch, ...].
    `loader="dataloader"` gives the same batches one at a time and is for transforms of single
    samples: `transform` takes a sample's input and is for training, `eval_transform` for validation
    and test. Batches that leave them as bytes are normalized here, floats are not. Blocks of
    batches stay bytes, a quarter of the memory: the step has to `normalize` them.

    Raises:
        ValueError: for settings that do not fit each other or the data, naming them `data.<key>`.
    """

    def __init__(
        self,
        train_size: int,
        val_size: int,
        split_seed: int = 0,
        batch_size: int = 64,
        eval_batch_size: int = 1_000,
        seed: int = 0,
        loader: str = "tensor",
        steps_per_execution: int = 50,
        transform: Callable[[Tensor], Any] | None = None,
        eval_transform: Callable[[Tensor], Any] | None = None,
        num_workers: int = 0,
    ) -> None:
        super().__init__()
        check_at_least(1, train_size=train_size, val_size=val_size)
        check_at_least(1, batch_size=batch_size, eval_batch_size=eval_batch_size)
        check_at_least(1, steps_per_execution=steps_per_execution)
        check_at_least(0, seed=seed, split_seed=split_seed, num_workers=num_workers)
        check_batch_size(batch_size, train_size)
        check_loader(
            loader, transform=transform, eval_transform=eval_transform, num_workers=num_workers
        )
        self.train_size = train_size
        self.val_size = val_size
        self.split_seed = split_seed
        self.batch_size = batch_size
        self.eval_batch_size = eval_batch_size
        self.seed = seed
        self.loader = loader
        self.steps_per_execution = steps_per_execution
        self.transform = transform
        self.eval_transform = eval_transform
        self.num_workers = num_workers

    @abstractmethod
    def read(self) -> Content:
        """The data set. It is called by each run, and should pay its cost once a process."""

    @cached_property
    def content(self) -> Content:
        """As it was when it was first asked for: the checksum is of what is trained on."""
        return self.read()

    def normalize(
        self, inputs: UInt8[Tensor, "*batch_and_shape"]
    ) -> Float[Tensor, "*batch_and_shape"]:
        """Bytes as the network takes them."""
        return inputs.float()

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps in an epoch; an incomplete last batch is dropped."""
        return self.train_size // self.batch_size

    @property
    def checksum(self) -> str:
        """Identifies the content of the data set, on any machine."""
        return self.content.checksum

    def setup(self, stage: str | None = None) -> None:
        content = self.content
        check_split(self.train_size, self.val_size, len(content.train.targets))
        check_shards(self.batch_size, self._world_size)
        self._train_indices, self._val_indices = stratified_split(
            content.train.targets, self.val_size, self.split_seed
        )
        wanted, batches = self.steps_per_execution, self.steps_per_epoch
        self.plan: BlockPlan | None = BlockPlan(batches, wanted, batches)
        if self.trainer is not None and stage == "fit" and self.loader == "tensor":
            self.plan = plan_blocks(self.trainer, wanted, batches)
        here = on_device(content, self._device) if self.loader == "tensor" else content
        self._train, self._test = here.train, here.test

    def train_dataloader(self) -> Loader:
        sampler = self._train_sampler()
        batch_size = self.batch_size // self._world_size
        if self.loader == "tensor":
            return TensorLoader(self._train, sampler, batch_size, self.plan)
        return self._sample_loader(self._train, self.transform, sampler, batch_size)

    def val_dataloader(self) -> Loader:
        return self._eval_dataloader(self._train, self._val_indices)

    def test_dataloader(self) -> Loader:
        return self._eval_dataloader(self._test, torch.arange(len(self._test.targets)))

    def on_after_batch_transfer(
        self, batch: Sequence[Tensor], dataloader_idx: int
    ) -> Sequence[Tensor]:
        if isinstance(batch, Block):
            return batch
        inputs, targets = batch
        if inputs.dtype == torch.uint8:
            inputs = self.normalize(inputs)
            if self.trainer is not None:  # Lightning converts a batch before it comes here
                inputs = self.trainer.precision_plugin.convert_input(inputs)
        return inputs, targets

    def _train_sampler(self) -> EpochSampler | FixedSampler:
        sampler = EpochSampler(
            self._train_indices, self.batch_size, self.seed, self._rank, self._world_size
        )
        if self.trainer is not None:
            if self.trainer.overfit_batches > 0:  # type: ignore[attr-defined]
                return FixedSampler(sampler.order())  # the same batches in every epoch
            # Lightning, resuming, starts worker processes before it calls set_epoch.
            sampler.set_epoch(self.trainer.current_epoch)
        return sampler

    def _eval_dataloader(self, data: Samples, indices: Int64[Tensor, " samples"]) -> Loader:
        sampler = FixedSampler(indices[self._rank :: self._world_size])
        if self.loader == "tensor":
            return TensorLoader(data, sampler, self.eval_batch_size)
        return self._sample_loader(data, self.eval_transform, sampler, self.eval_batch_size)

    def _sample_loader(
        self,
        data: Samples,
        transform: Callable[[Tensor], Any] | None,
        sampler: EpochSampler | FixedSampler,
        batch_size: int,
    ) -> DataLoader[tuple[Tensor, Any]]:
        pin_memory = self._device.type == "cuda"
        dataset = SampleDataset(data, transform)
        return sample_loader(dataset, sampler, batch_size, self.num_workers, pin_memory, self.seed)

    @property
    def _device(self) -> torch.device:
        if self.trainer is None:
            return torch.device("cpu")
        return self.trainer.strategy.root_device

    @property
    def _rank(self) -> int:
        return 0 if self.trainer is None else self.trainer.global_rank

    @property
    def _world_size(self) -> int:
        return 1 if self.trainer is None else self.trainer.world_size


_copies: dict[torch.device, Content] = {}


def on_device(content: Content, device: torch.device) -> Content:
    """On a device that is no CPU one copy serves all runs of the process; the latest is kept."""
    if device.type == "cpu":
        return content
    if device not in _copies or _copies[device].checksum != content.checksum:
        copies = content.train.to(device), content.test.to(device)
        _copies[device] = Content(*copies, content.checksum)
    return _copies[device]


def check_at_least(least: int, **settings: int) -> None:
    for name, value in settings.items():
        if not isinstance(value, int) or value < least:
            raise ValueError(
                f"data.{name}: expected a whole number of at least {least}, got {value!r}"
            )


def check_batch_size(batch_size: int, train_size: int) -> None:
    if batch_size > train_size:
        raise ValueError(
            f"data.batch_size: expected at most {train_size:,}, the number of training samples "
            f"(data.train_size), got {batch_size:,}; lower it"
        )


def check_loader(loader: str, **per_sample: object) -> None:
    """`per_sample`: settings that only the loader of single samples can heed."""
    if loader not in LOADERS:
        raise ValueError(f"data.loader: expected {' or '.join(LOADERS)}, got {loader!r}")
    for name, value in per_sample.items():
        if loader == "tensor" and value not in (None, 0):
            raise ValueError(
                f"data.{name}: expected none with data.loader=tensor, which handles no sample by "
                f"itself, got {value}; set data.loader=dataloader"
            )


def check_split(train_size: int, val_size: int, available: int) -> None:
    if train_size + val_size != available:
        raise ValueError(
            f"expected {available:,} = data.train_size + data.val_size, got {train_size:,} + "
            f"{val_size:,} = {train_size + val_size:,}; set both"
        )


def check_shards(batch_size: int, world_size: int) -> None:
    if batch_size % world_size != 0:
        raise ValueError(
            f"data.batch_size: expected a multiple of {world_size}, the number of devices that "
            f"share each batch, got {batch_size}; change it or the number of devices"
        )
