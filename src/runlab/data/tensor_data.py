"""TensorData: the LightningDataModule to derive from, for whatever fits in memory."""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import lightning as L
import torch
from jaxtyping import Float, Int64, UInt8
from torch import Generator, Tensor
from torch.utils.data import DataLoader

from runlab.blocks.block import Block
from runlab.blocks.loader import SampleDataset, Samples, TensorLoader, sample_loader
from runlab.blocks.plan import BlockPlan
from runlab.blocks.random import AUGMENT, augments, step_generator
from runlab.blocks.sampler import EpochSampler, FixedSampler, stratified_split
from runlab.blocks.size import plan_blocks
from runlab.data.content import Content, checked, digest, shared
from runlab.data.sizes import (
    Size,
    check_at_least,
    check_batch_size,
    check_loader,
    check_shards,
    check_sizes,
    split_off_test,
    split_sizes,
)
from runlab.module import Module

Loader = TensorLoader | DataLoader[tuple[Tensor, Any]]


class Split(NamedTuple):
    """Which samples are for what: train and val of `Content.train`, test of the test samples."""

    train: Int64[Tensor, " train"]
    val: Int64[Tensor, " val"]
    test: Int64[Tensor, " test"]


class TensorData(L.LightningDataModule):
    """Samples in memory, as tensors on the training device: for training, validation and test.

    A subclass writes `read`, and `normalize` if its inputs are bytes (uint8). Inputs and targets
    are of any shape and type: whole numbers [samples], a regression's floats [samples] or
    [samples, outputs], several yes-or-no answers a sample.

    The split depends on `split_seed` alone and keeps the proportions of a target of whole numbers;
    the order of the batches depends on `seed` and the epoch alone. `batch_size` counts all devices
    together. A size is a number of samples, a share of them (0.1), or null for what the others
    leave; `test_size` is for data without test samples of their own. With `val_size=0` training
    takes all samples, and the last weights are tested.

    `loader="tensor"` keeps all samples on the training device and gives a `runlab.Module` up to
    `steps_per_execution` batches at once: inputs [steps, batch, ...], targets [steps, batch, ...].
    `loader="dataloader"` gives the same batches one at a time and is for transforms of single
    samples: `transform` takes a sample's input and is for training, `eval_transform` for validation
    and test. Batches that leave them as bytes are normalized here, floats are not. Blocks of
    batches stay bytes, a quarter of the memory: the step has to `normalize` them.

    A subclass may have `augment(inputs, generator)`, as a method or set at construction: it changes
    a training batch's raw inputs [batch, ...] at random, all at once and on the device, by what it
    draws from that generator, which is another one for each step.

    Raises:
        ValueError: for settings that do not fit each other or the data, naming them `data.<key>`.
    """

    augment: Callable[[Tensor, Generator], Tensor]

    def __init__(
        self,
        train_size: Size = None,
        val_size: Size = 0.1,
        split_seed: int = 0,
        batch_size: int = 64,
        eval_batch_size: int = 1_000,
        seed: int = 0,
        loader: str = "tensor",
        steps_per_execution: int = 50,
        transform: Callable[[Tensor], Any] | None = None,
        eval_transform: Callable[[Tensor], Any] | None = None,
        num_workers: int = 0,
        test_size: Size = None,
    ) -> None:
        super().__init__()
        check_sizes(train_size, val_size, test_size)
        check_at_least(1, batch_size=batch_size, eval_batch_size=eval_batch_size)
        check_at_least(1, steps_per_execution=steps_per_execution)
        check_at_least(0, seed=seed, split_seed=split_seed, num_workers=num_workers)
        if isinstance(train_size, int):
            check_batch_size(batch_size, train_size)
        check_loader(
            loader, transform=transform, eval_transform=eval_transform, num_workers=num_workers
        )
        self.train_size = train_size
        self.val_size = val_size
        self.test_size = test_size
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
        """The data set, in CPU memory. Each run calls it: what takes long is read once a process.

        As by `functools.lru_cache` on a function of `runlab.data.stamps(files)`.
        """

    def preprocess(self, content: Content, train: Int64[Tensor, " train"]) -> Content:
        """What was read, changed by what the training samples alone tell, as their mean.

        The checksum is of what this makes, unless that has another one than what was read.

        Args:
            train: the indices of these among `content.train`.
        """
        return content

    @property
    def content(self) -> Content:
        """As it was when it was first asked for: the checksum is of what is trained on."""
        return self._loaded[0]

    @property
    def split(self) -> Split:
        """Sorted indices, a function of `split_seed`."""
        return self._loaded[1]

    @cached_property
    def _loaded(self) -> tuple[Content, Split]:
        name = type(self).__name__
        content = checked(self.read(), f"{name}.read")
        split = self._split(content)
        made = self.preprocess(content, split.train)
        if made is not content:
            made = checked(made, f"{name}.preprocess")
            if made.checksum == content.checksum:  # which is of what it was made of
                made = made._replace(checksum=digest(*made.pairs))
        return shared(made, torch.device("cpu")), split

    def _split(self, content: Content) -> Split:
        train, *others = content.pairs
        rest = torch.arange(len(train.targets))
        if others:
            if self.test_size is not None:
                raise ValueError(
                    "data.test_size: expected null, as the data have test samples of their own, "
                    f"got {self.test_size}"
                )
            test = torch.arange(len(others[0].targets))
        else:
            size = split_off_test(self.test_size, len(rest))
            rest, test = stratified_split(train.targets, size, self.split_seed)
        _, size = split_sizes(self.train_size, self.val_size, len(rest))
        # indices of the rest, which holds indices itself
        first, second = stratified_split(train.targets[rest], size, self.split_seed)
        return Split(rest[first], rest[second], test)

    def normalize(
        self, inputs: UInt8[Tensor, "*batch_and_shape"]
    ) -> Float[Tensor, "*batch_and_shape"]:
        """Bytes as the network takes them."""
        return inputs.float()

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps in an epoch; an incomplete last batch is dropped."""
        size = self.train_size if isinstance(self.train_size, int) else len(self.split.train)
        return size // self.batch_size

    @property
    def checksum(self) -> str | None:
        """Identifies the content of the data set, on any machine."""
        return self.content.checksum

    def setup(self, stage: str | None = None) -> None:
        check_batch_size(self.batch_size, len(self.split.train))
        check_shards(self.batch_size, self._world_size)
        on_device = self.loader == "tensor"
        wanted, batches = self.steps_per_execution, self.steps_per_epoch
        self.plan: BlockPlan | None = BlockPlan(batches, wanted, batches)
        if self.trainer is not None and stage == "fit" and on_device:
            self.plan = plan_blocks(self.trainer, wanted, batches)
        here = shared(self.content, self._device) if on_device else self.content
        self._train, self._test = here.pairs[0], here.pairs[-1]

    def train_dataloader(self) -> Loader:
        sampler = self._train_sampler()
        batch_size = self.batch_size // self._world_size
        if self.loader == "tensor":
            return TensorLoader(self._train, sampler, batch_size, self.plan)
        return self._sample_loader(self._train, self.transform, sampler, batch_size)

    def val_dataloader(self) -> Loader | list[Loader]:
        """None of them with `val_size=0`."""
        if len(self.split.val) == 0:
            return []
        return self._eval_dataloader(self._train, self.split.val)

    def test_dataloader(self) -> Loader:
        return self._eval_dataloader(self._test, self.split.test)

    def on_after_batch_transfer(
        self, batch: Sequence[Tensor], dataloader_idx: int
    ) -> Sequence[Tensor]:
        """An ordinary batch, augmented in training and normalized; a block is left to the step."""
        if isinstance(batch, Block):
            return batch
        inputs, targets = batch
        if self.trainer is not None and self.trainer.training and augments(self):
            # steps and batches taken before, also by a run that goes on
            number, part = self.trainer.fit_loop.epoch_loop.batch_progress.total.ready, 0
            if isinstance(module := self.trainer.lightning_module, Module):  # as in its blocks
                number, part = self.trainer.global_step, module.pending_batches
            generator = step_generator(self.seed, number, AUGMENT, inputs.device, part)
            inputs = self.augment(inputs, generator)
        if inputs.dtype == torch.uint8:
            inputs = self.normalize(inputs)
            if self.trainer is not None:  # Lightning converts a batch before it comes here
                inputs = self.trainer.precision_plugin.convert_input(inputs)
        return inputs, targets

    def _train_sampler(self) -> EpochSampler | FixedSampler:
        sampler = EpochSampler(
            self.split.train, self.batch_size, self.seed, self._rank, self._world_size
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
        return sample_loader(
            dataset,
            sampler,
            batch_size,
            self.num_workers,
            pin_memory,
            self.seed,
            persistent_workers=isinstance(sampler, FixedSampler),
        )

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
