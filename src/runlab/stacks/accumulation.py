"""Accumulation: the batches of a block that share an optimizer step."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from torch import Tensor


class Accumulation(NamedTuple):
    """Which batches of a block share optimizer steps.

    Attributes:
        together: batches of one optimizer step, which takes their mean gradient.
        waiting: batches before the block whose gradients the parameters hold.
        ends: after which batches of the block the optimizer steps.
    """

    together: int
    waiting: int
    ends: Sequence[bool]

    @property
    def left(self) -> int:
        """Batches whose gradients wait after the block."""
        return 0 if self.ends[-1] else (self.waiting + len(self.ends)) % self.together


def each_steps(batches: int) -> Accumulation:
    """Every batch has an optimizer step of its own."""
    return Accumulation(1, 0, [True] * batches)


def accumulate(
    waiting: Mapping[str, Tensor], gradients: dict[str, Tensor], together: int
) -> dict[str, Tensor]:
    """Those that wait, and a batch's share of the mean."""
    if together == 1:
        return gradients
    total = dict(waiting)
    for name, gradient in gradients.items():
        share = gradient / together
        total[name] = total[name] + share if name in total else share
    return total
