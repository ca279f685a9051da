"""Which sample is seen when: the split, and the order within an epoch."""

from collections.abc import Iterator

import numpy as np
import torch
from jaxtyping import Int64, Num
from torch import Tensor, distributed
from torch.utils.data import DistributedSampler, SequentialSampler


def stratified_split(
    targets: Num[Tensor, "samples ..."], val_size: int, seed: int
) -> tuple[Int64[Tensor, " train"], Int64[Tensor, " val"]]:
    """Sorted indices of the training and of the validation samples.

    Each value of an integer target has its share of `val_size`, rounded so that the shares add up
    (largest remainder). Values whose share is below one sample share theirs, and so do floats: of
    these any samples are as likely as any others.
    """
    is_value = targets.ndim == 1 and not targets.is_floating_point()
    _, strata, counts = np.unique(
        targets.numpy() if is_value else np.zeros(len(targets)),
        return_inverse=True,
        return_counts=True,
    )
    is_rare = counts * val_size < len(strata)
    strata = np.where(is_rare, -1, np.arange(len(counts)))[strata]
    values, counts = np.unique(strata, return_counts=True)
    exact = counts * val_size / len(strata)
    shares = np.floor(exact).astype(int)
    largest_remainders = np.argsort(shares - exact, kind="stable")[: val_size - shares.sum()]
    shares[largest_remainders] += 1

    random = np.random.RandomState(seed)  # its stream is frozen: the split outlives NumPy versions
    chosen = np.zeros(len(strata), dtype=bool)
    for value, share in zip(values, shares, strict=True):
        members = np.flatnonzero(strata == value)
        chosen[random.permutation(members)[:share]] = True
    return torch.from_numpy(np.flatnonzero(~chosen)), torch.from_numpy(np.flatnonzero(chosen))


class EpochSampler(DistributedSampler[int]):
    """One rank's share of the batches of an epoch, shuffled by (seed, epoch) and nothing else.

    `batch_size` counts all ranks together: rank r of W takes `batch[r::W]` of every batch, so that
    an experiment's batches do not depend on the number of devices. An incomplete last batch is
    dropped. Lightning calls `set_epoch`. It does not shard a `DistributedSampler` once more.

    For a plain `DataLoader`, so that a run that was stopped goes on in its order:
    `DataLoader(dataset, batch_size, sampler=EpochSampler(len(dataset), batch_size, seed))`. On
    several devices the loader's own batch size is each device's.

    Args:
        indices: of the samples or, if it is a number, all from 0 up to it.
        rank, world_size: by default those of this process.

    Raises:
        ValueError: for batches that the ranks cannot share alike: they would wait for each other.
    """

    def __init__(
        self,
        indices: Int64[Tensor, " samples"] | int,
        batch_size: int,
        seed: int = 0,
        rank: int | None = None,
        world_size: int | None = None,
    ) -> None:
        is_distributed = distributed.is_available() and distributed.is_initialized()
        if rank is None:
            rank = distributed.get_rank() if is_distributed else 0
        if world_size is None:
            world_size = distributed.get_world_size() if is_distributed else 1
        if batch_size % world_size != 0:
            raise ValueError(
                f"expected a batch size that is a multiple of {world_size}, the number of devices "
                f"that share each batch, got {batch_size}: change it or the number of devices"
            )
        self.indices = torch.arange(indices) if isinstance(indices, int) else indices
        super().__init__(self.indices, world_size, rank, seed=seed)  # type: ignore[arg-type]
        self.batch_size = batch_size
        self.world_size = world_size

    def order(self) -> Int64[Tensor, " share"]:
        """The indices that this rank visits in this epoch, batch after batch."""
        state = np.random.SeedSequence([self.seed, self.epoch]).generate_state(1, np.uint64)
        generator = torch.Generator().manual_seed(int(state[0]))
        shuffled = self.indices[torch.randperm(len(self.indices), generator=generator)]
        complete = len(shuffled) // self.batch_size * self.batch_size
        batches = shuffled[:complete].view(-1, self.batch_size)  # [steps, batch]
        return batches[:, self.rank :: self.world_size].flatten()

    def __iter__(self) -> Iterator[int]:
        # A generator, so that the order is drawn at the first sample: on resuming, Lightning makes
        # the iterator before it calls `set_epoch`.
        yield from self.order().tolist()

    def __len__(self) -> int:
        return len(self.indices) // self.batch_size * (self.batch_size // self.world_size)


class FixedSampler(SequentialSampler, DistributedSampler[int]):
    """The given indices, in the given order, every time.

    They are one rank's share: Lightning does not shard a `DistributedSampler` once more.
    """

    def __init__(self, indices: Int64[Tensor, " share"]) -> None:
        super().__init__(indices)
        self.indices = indices
        self.epoch = 0

    def order(self) -> Int64[Tensor, " share"]:
        return self.indices

    def __iter__(self) -> Iterator[int]:
        return iter(self.indices.tolist())
