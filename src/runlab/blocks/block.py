"""Block: the batches of several steps, which one call of `training_step` gets."""

from typing import Any, NamedTuple

from jaxtyping import Num
from torch import Tensor
from torch.utils._pytree import tree_leaves

from runlab.blocks.lazy_batch import step_of


class Block(NamedTuple):
    """Inputs and targets of several optimizer steps; any other batch is one step's."""

    inputs: Num[Tensor, "steps batch ..."]
    targets: Num[Tensor, "steps batch ..."]

    @property
    def steps(self) -> int:
        return len(self.targets)

    def batch(self, step: int) -> tuple[Num[Tensor, "batch ..."], Num[Tensor, "batch ..."]]:
        """That step's inputs and targets."""
        return step_of(self.inputs, step), self.targets[step]


def samples_in(batch: Any) -> int:
    """How many samples a block, or any other batch, holds: by its first tensor [batch, ...].

    Raises:
        ValueError: for a batch without one.
    """
    if isinstance(batch, Block):
        return batch.targets.shape[:2].numel()
    for leaf in tree_leaves(batch):
        if isinstance(leaf, Tensor) and leaf.ndim > 0:
            return len(leaf)
    raise ValueError(
        "expected a tensor with an entry a sample in each batch, got none: let the data module's "
        "loaders collate one"
    )
