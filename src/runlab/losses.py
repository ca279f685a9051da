"""What the engine asks of a loss: one number, the mean over its batch."""

import inspect
from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map_only

ELEMENTWISE = (
    *(nn.MSELoss, nn.L1Loss, nn.SmoothL1Loss, nn.HuberLoss, nn.BCELoss, nn.BCEWithLogitsLoss),
)
"""Losses of torch that take numbers of one shape."""

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


def require_two_inputs(loss: nn.Module) -> None:
    """Raises ValueError for a module that cannot be called with outputs and targets."""
    try:
        inspect.signature(loss.forward).bind(None, None)
    except TypeError:
        raise ValueError(
            f"expected a loss of outputs and targets, got {type(loss).__name__}, whose forward "
            f"takes {inspect.signature(loss.forward)}: choose loss=…"
        ) from None


def require_same_shape(loss: nn.Module | None, outputs: Any, targets: Any) -> None:
    """Raises ValueError where torch would compare each output with each target, or refuse to."""
    if isinstance(loss, ELEMENTWISE) and outputs.shape != targets.shape:
        raise ValueError(
            f"expected outputs of the targets' shape {[*targets.shape]} for {type(loss).__name__}, "
            f"got {[*outputs.shape]}: choose a network, or a loss, that fits the data"
        )


def doubled_ratio(loss_of: Callable[[Any], Tensor], batch: Any) -> Float[Tensor, ""]:
    """The loss of a batch's first samples taken twice, by that of the same taken once.

    It is 1 for a mean, 2 for a sum, not finite for a loss of 0, and 1 for a batch that cannot be
    cut into samples.
    """
    sizes = {each.shape[:1] for each in tree_leaves(batch) if isinstance(each, Tensor)}
    if len(sizes) != 1 or sizes == {()}:
        return torch.ones(())
    few = tree_map_only(Tensor, lambda each: each[:FEW], batch)
    try:
        once = loss_of(few).float()
        return loss_of(tree_map_only(Tensor, lambda each: torch.cat([each, each]), few)) / once
    except Exception:
        return torch.ones(())


def require_mean(ratio: float) -> None:
    """Raises ValueError for the `doubled_ratio` of a sum; a loss of pairs may have any other."""
    if abs(ratio - 2) < 0.02:
        raise ValueError(
            "expected a loss that is the mean over its batch, got one that is twice as large for "
            "a batch of every sample twice: divide it by the number of samples"
        )
