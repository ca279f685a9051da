"""Two ways from images and an order to batches: slices of tensors, or one image after another."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from jaxtyping import Int64, UInt8
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms.functional import to_pil_image

from runlab.blocks.lazy_batch import Rows
from runlab.blocks.sampler import EpochSampler, FixedSampler
from runlab.extras.classification.idx import Images


class TensorLoader:
    """Slices of tensors that lie on the training device; an epoch waits for no copy and no worker.

    With `steps_per_execution`, up to that many batches come at once, as [steps, batch, ...]: what
    Python and Lightning cost is then paid once for all of them. The last block may be shorter. A
    block's images are `Rows`, which runs that train together do not gather.

    It resumes within an epoch, by the state that Lightning keeps in its checkpoints.
    """

    batch_sampler = None  # Lightning asks every loader that has a sampler for it

    def __init__(
        self,
        data: Images,
        sampler: EpochSampler | FixedSampler,
        batch_size: int,
        steps_per_execution: int | None = None,
    ) -> None:
        self.data = data
        self.sampler = sampler  # where Lightning looks for `set_epoch`
        self.batch_size = batch_size
        self.steps_per_execution = steps_per_execution
        self._start = 0
        self._yielded = 0

    def __len__(self) -> int:
        return -(-len(self.sampler) // self._block_size)

    def __iter__(self) -> Iterator[tuple[UInt8[Tensor, "..."], Int64[Tensor, "..."]]]:
        order = self.sampler.order().to(self.data.labels.device)
        blocks = order.split(self._block_size)
        start, self._start = self._start, 0
        for self._yielded, block in enumerate(blocks[start:], start=start + 1):
            yield self._slice(block)

    def state_dict(self) -> dict[str, int]:
        return {"yielded": self._yielded}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self._start = state["yielded"] % len(self)  # a finished epoch is followed by a whole one

    @property
    def _block_size(self) -> int:
        return self.batch_size * (self.steps_per_execution or 1)

    def _slice(
        self, block: Int64[Tensor, " block"]
    ) -> tuple[UInt8[Tensor, "..."], Int64[Tensor, "..."]]:
        if self.steps_per_execution is None:
            return self.data.images.index_select(0, block), self.data.labels.index_select(0, block)
        indices = block.view(-1, self.batch_size)  # [steps, batch]
        return Rows(self.data.images, indices), self.data.labels[indices]


class ImageDataset(Dataset[tuple[Tensor, int]]):
    """Images one by one, through a torchvision transform that takes a PIL image if there is one."""

    def __init__(self, data: Images, transform: Callable[..., Any] | None = None) -> None:
        self.data = data
        self.transform = transform

    def __len__(self) -> int:
        return len(self.data.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.image(index), int(self.data.labels[index])

    def image(self, index: int) -> Any:
        """A tensor, if the transform is as it should be."""
        image = self.data.images[index]
        return image if self.transform is None else self.transform(to_pil_image(image))


def image_loader(
    dataset: ImageDataset,
    sampler: EpochSampler | FixedSampler,
    batch_size: int,
    num_workers: int,
    pin_memory: bool,
    seed: int,
) -> DataLoader[tuple[Tensor, int]]:
    return DataLoader(
        dataset,
        batch_size=batch_size,
        sampler=sampler,
        num_workers=num_workers,
        persistent_workers=num_workers > 0,
        pin_memory=pin_memory,
        generator=torch.Generator().manual_seed(seed),  # workers' seeds; else the global one moves
    )
