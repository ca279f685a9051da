"""What the engine asks of a loss: one number, the mean over its batch."""

import copy
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

FEW = 8
"""Samples on which a loss is tried."""


def require_mean_reduction(loss: nn.Module | None) -> None:
    """Raises ValueError for a loss of torch's kind that says it is a sum, or one number a sample.

    `val/loss` and accumulated gradients are means over batches, of which the last may be smaller.
    """
    reduction = getattr(loss, "reduction", "mean")
    if reduction in ("sum", "none"):
        raise ValueError(
            f"expected loss.reduction=mean, got {reduction}: a learning rate would depend on the "
            "batch's size, and so would val/loss"
        )


def doubled_ratio(loss: Any, outputs: Any, targets: Any) -> Float[Tensor, ""]:
    """The loss of a batch's first samples taken twice, by that of the same taken once.

    It is 1 for a mean, 2 for a sum, not finite for a loss of 0, and 1 where it cannot be tried,
    since a module calls its loss in a way of its own. Copies are tried: one may count its calls.
    """
    pair = outputs, targets
    if loss is None or not all(isinstance(each, Tensor) and each.ndim for each in pair):
        return torch.ones(())
    few = [each[:FEW].detach() for each in pair]
    try:
        once = copy.deepcopy(loss)(*few)
        return (
            copy.deepcopy(loss)(*(torch.cat([each, each]) for each in few)).float() / once.float()
        )
    except Exception:
        return torch.ones(())


def require_mean(ratio: float) -> None:
    """Raises ValueError for the `doubled_ratio` of a sum; a loss of pairs may have any other."""
    if abs(ratio - 2) < 0.02:
        raise ValueError(
            "expected a loss that is the mean over its batch, got one that is twice as large for "
            "a batch of every sample twice: divide it by the number of samples"
        )
