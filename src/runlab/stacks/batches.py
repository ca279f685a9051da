from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Num
from torch import Tensor

from runlab.blocks.lazy_batch import Rows, at


class Batches:
    """The batches of several runs' steps, [runs, batch, ...] each, in the memory of the one before.

    Of `Rows` of the same images, those of all runs are gathered at once.
    """

    def __init__(self, images: Sequence[Num[Tensor, "steps batch ..."]]) -> None:
        self.images, first = images, images[0]
        size = len(images), *first.shape[1:]
        self.batch = torch.empty(size, dtype=first.dtype, device=first.device)
        rows = [each for each in images if isinstance(each, Rows) and not each.is_gathered]
        sources = {place(each.source) for each in rows}
        self.indices: Tensor | None = None
        if len(rows) == len(images) and len(sources) == 1:
            self.source = rows[0].source
            by_step = torch.stack([each.chosen for each in rows], dim=1)  # [steps, runs, batch]
            self.indices = by_step.flatten(1)

    def __getitem__(self, step: int) -> Num[Tensor, "runs batch ..."]:
        if self.indices is not None:
            flat = self.batch.flatten(0, 1)
            torch.index_select(self.source, 0, self.indices[step], out=flat)
        else:
            torch.stack([at(each, step) for each in self.images], out=self.batch)
        return self.batch


def place(tensor: Tensor) -> tuple[Any, ...]:
    """Where in memory its values are; equal for tensors that share all of them."""
    return tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype
