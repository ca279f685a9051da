"""Two ways from samples and an order to batches: slices of tensors, or one sample after another."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from jaxtyping import Int64, Num
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from runlab.blocks.block import Block
from runlab.blocks.lazy_batch import LazyBatch
from runlab.blocks.plan import BlockPlan
from runlab.blocks.sampler import EpochSampler, FixedSampler


class Samples(NamedTuple):
    """All inputs of a data set with their targets, in its own order."""

    inputs: Num[Tensor, "samples ..."]
    targets: Num[Tensor, "samples ..."]

    def to(self, device: torch.device) -> "Samples":
        return Samples(self.inputs.to(device), self.targets.to(device))


class TensorLoader:
    """Slices of tensors that lie on the training device; an epoch waits for no copy and no worker.

    With a plan of blocks, several batches come at once, as a `Block`: what Python and Lightning
    cost is then paid once for all of them. A block's inputs are a `LazyBatch`, which runs that
    train together do not materialize.

    It resumes within an epoch, by the state that Lightning keeps in its checkpoints.
    """

    batch_sampler = None  # Lightning asks every loader that has a sampler for it

    def __init__(
        self,
        data: Samples,
        sampler: EpochSampler | FixedSampler,
        batch_size: int,
        plan: BlockPlan | None = None,
    ) -> None:
        self.data = data
        self.sampler = sampler  # where Lightning looks for `set_epoch`
        self.batch_size = batch_size
        self.plan = plan
        self._start = 0
        self._yielded = 0

    def __len__(self) -> int:
        if self.plan is None:
            return -(-len(self.sampler) // self.batch_size)
        return self.plan.blocks

    def __iter__(self) -> Iterator[Block | tuple[Num[Tensor, "..."], Num[Tensor, "..."]]]:
        order = upload(self.sampler.order(), self.data.targets.device)
        parts = self._parts(order)
        start, self._start = self._start, 0
        for self._yielded, part in enumerate(parts[start:], start=start + 1):
            yield self._slice(part)

    def _parts(self, order: Int64[Tensor, " samples"]) -> Sequence[Int64[Tensor, " part"]]:
        if self.plan is None:
            return order.split(self.batch_size)
        sizes = [length * self.batch_size for length in self.plan.lengths(self.sampler.epoch)]
        return order[: sum(sizes)].split(sizes)

    def steps_in(self, blocks: int) -> int:
        """How many batches the first blocks of an epoch hold, if the run does not end in it."""
        return blocks if self.plan is None else sum(self.plan.uncut()[:blocks])

    def state_dict(self) -> dict[str, int]:
        return {"yielded": self._yielded}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self._start = state["yielded"] % len(self)  # a finished epoch is followed by a whole one

    def _slice(
        self, part: Int64[Tensor, " part"]
    ) -> Block | tuple[Num[Tensor, "..."], Num[Tensor, "..."]]:
        inputs, targets = self.data
        if self.plan is None:
            return inputs.index_select(0, part), targets.index_select(0, part)
        indices = part.view(-1, self.batch_size)  # [steps, batch]
        return Block(LazyBatch(inputs, indices), targets[indices])


def upload(tensor: Tensor, device: torch.device) -> Tensor:
    """Copied from the CPU without a wait for what the device computes: that takes pinned memory."""
    source = tensor.pin_memory() if device.type == "cuda" else tensor
    return source.to(device, non_blocking=True)


class SampleDataset(Dataset[tuple[Tensor, Any]]):
    """Samples one by one, their inputs through a transform if there is one."""

    def __init__(self, data: Samples, transform: Callable[[Tensor], Any] | None = None) -> None:
        self.data = data
        self.transform = transform

    def __len__(self) -> int:
        return len(self.data.targets)

    def __getitem__(self, index: int) -> tuple[Tensor, Any]:
        return self.input(index), self.data.targets[index]

    def input(self, index: int) -> Any:
        """A tensor, if the transform is as it should be."""
        sample = self.data.inputs[index]
        return sample if self.transform is None else self.transform(sample)


def sample_loader(
    dataset: SampleDataset,
    sampler: EpochSampler | FixedSampler,
    batch_size: int,
    num_workers: int,
    pin_memory: bool,
    seed: int,
    persistent_workers: bool,
) -> DataLoader[tuple[Tensor, Any]]:
    """Torch's own loader in that order; its workers' seeds come from `seed`.

    Persistent workers draw on from one epoch to the next, which no checkpoint can restore.
    """
    return DataLoader(
        dataset,
        batch_size=batch_size,
        sampler=sampler,
        num_workers=num_workers,
        persistent_workers=persistent_workers and num_workers > 0,
        pin_memory=pin_memory,
        generator=torch.Generator().manual_seed(seed),  # workers' seeds; else the global one moves
    )
