"""Block: the batches of several optimizer steps, which a training step gets at once."""

from typing import NamedTuple

from jaxtyping import Num
from torch import Tensor

from runlab.blocks.lazy_batch import step_of


class Block(NamedTuple):
    """Inputs and targets of each step, [steps, batch, ...]."""

    inputs: Num[Tensor, "steps batch ..."]
    targets: Num[Tensor, "steps batch ..."]

    def batch(self, step: int) -> tuple[Num[Tensor, "batch ..."], Num[Tensor, "batch ..."]]:
        return step_of(self.inputs, step), self.targets[step]
