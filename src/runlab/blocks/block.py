"""Block: the batches of several steps, which one call of `training_step` gets."""

from typing import NamedTuple

from jaxtyping import Num
from torch import Tensor

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
