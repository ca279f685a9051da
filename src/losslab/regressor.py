"""Regressor: the LightningModule for targets that are numbers, compared by its RMSE."""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from jaxtyping import Float
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from torchmetrics import MetricCollection
from torchmetrics.regression import MeanAbsoluteError, MeanSquaredError, R2Score

from runlab.measure import Measure
from runlab.module import Batch, Module, OptimizerFactory

MEASURES = (
    Measure("rmse", "RMSE", best=0.0),
    Measure("mae", "MAE", best=0.0),
    Measure("r2", "R²", higher_is_better=True, best=1.0),
    Measure("loss", "loss", comparable=False),
)
"""The first one is primary. `+metric.rmse.measure.unit=cm` gives it a unit."""


class R2(R2Score):
    """R², of two samples at least: of one there is no spread to compare the error with."""

    def compute(self) -> Tensor:
        if self.total < 2:
            raise ValueError(
                "expected at least two samples for validation, and for test, as R² compares the "
                f"errors with the spread of the targets, got {int(self.total)}: set data.val_size "
                "(0 for no validation) or data.test_size higher"
            )
        return super().compute()


class Regressor(Module):
    """Predicts numbers, by any loss of outputs and targets of one shape.

    rmse: √(mean of squared errors). mae: mean of absolute errors. r2: 1 − the squared errors' sum
    over that of whoever predicts the mean of all targets. Of several numbers for each sample
    [batch, numbers] rmse and mae are over all of them, r2 is their mean.

    Args:
        metrics: what is measured besides, of outputs and targets.
        others: as of `runlab.Module`.

    Raises:
        ValueError: for a loss of classes.
    """

    measures: ClassVar[tuple[Measure, ...]] = MEASURES

    def __init__(
        self,
        network: nn.Module,
        loss: nn.Module,
        optimizer: OptimizerFactory | None,
        scheduler: Callable[[Optimizer], LRScheduler] | None = None,
        metrics: MetricCollection | None = None,
        gradient_clip: float | None = None,
        accumulate_grad_batches: int = 1,
    ) -> None:
        if hasattr(loss, "probabilities") or isinstance(loss, nn.CrossEntropyLoss | nn.NLLLoss):
            raise ValueError(
                "expected a loss of numbers, such as loss=squared_error, loss=l1 or loss=huber, "
                f"got {type(loss).__name__}, which is one of classes"
            )
        own = MetricCollection(
            {"rmse": MeanSquaredError(squared=False), "mae": MeanAbsoluteError(), "r2": R2()},
            compute_groups=False,
        )
        if metrics is not None:
            own.add_metrics(metrics)
        super().__init__(
            network, loss, optimizer, scheduler, own, gradient_clip, accumulate_grad_batches
        )

    def loss_step(
        self, batch: Batch, drawn: Any
    ) -> tuple[Float[Tensor, ""], Float[Tensor, "batch ..."]]:
        """The loss of outputs in the targets' shape.

        Raises:
            ValueError: for other shapes than [batch, 1] for [batch]. torch would take each output
                with each target, and train something else.
        """
        inputs, targets = batch
        outputs = self(inputs)
        if outputs.shape == (*targets.shape, 1):
            outputs = outputs.squeeze(-1)
        if outputs.shape != targets.shape:
            raise ValueError(
                f"expected outputs of the targets' shape {[*targets.shape]}, got "
                f"{[*outputs.shape]}: give the network as many outputs as a sample has targets"
            )
        if not self.training:  # 16 bits would round what is measured
            outputs = outputs.float()
        return self.loss(outputs, targets), outputs

    def has_collapsed(self, last: Mapping[str, float], best: Mapping[str, float]) -> bool:
        """Whether it predicts no better than the mean, or kept less than it lost of its best R²."""
        if "val/r2" not in last:  # a validation of its own measures something else
            return False
        return last["val/r2"] <= 0 or last["val/r2"] < best["val/r2"] / 2
