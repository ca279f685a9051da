"""Classifier: the LightningModule that holds network, loss, optimizer and the training step."""

import inspect
from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar

from jaxtyping import Float
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from torchmetrics import MetricCollection

from losslab.metrics import MEASURES, classification_metrics, update_metrics
from runlab.measure import Measure
from runlab.module import Module


class Classifier(Module):
    """Classifies images; every part of it is exchanged by one word of the configuration.

    `training_step` gets a block: images [steps, batch, channels, height, width] with labels
    [steps, batch]. `take_block` takes one optimizer step for each batch of it, by `loss_step`.

    Args:
        loss: also maps outputs to class probabilities, by `probabilities(outputs)`.
        optimizer: makes an optimizer from the parameters; None for a module that is not trained.
        scheduler: makes a learning-rate schedule from the optimizer; it steps with the optimizer.
        gradient_clip: largest norm of the whole gradient.
    """

    measures: ClassVar[tuple[Measure, ...]] = MEASURES

    def __init__(
        self,
        network: nn.Module,
        loss: nn.Module,
        optimizer: Callable[[Iterable[nn.Parameter]], Optimizer] | None,
        num_classes: int,
        scheduler: Callable[[Optimizer], LRScheduler] | None = None,
        gradient_clip: float | None = None,
    ) -> None:
        metrics = classification_metrics(num_classes)
        super().__init__(network, loss, optimizer, metrics, scheduler, gradient_clip)
        self.num_classes = num_classes

    def forward(self, images: Float[Tensor, "batch ..."]) -> Float[Tensor, "batch classes"]:
        return self.network(images)

    def training_step(self, batch: Any, batch_index: int) -> Any:
        """Returns the network's `outputs` on the last batch of the block, before its step."""
        return self.take_block(batch)

    def validation_step(self, batch: Sequence[Tensor], batch_index: int) -> dict[str, Tensor]:
        return self.evaluation_step(batch, "val")

    def test_step(self, batch: Sequence[Tensor], batch_index: int) -> dict[str, Tensor]:
        return self.evaluation_step(batch, "test")

    def evaluation_step(self, batch: Sequence[Tensor], split: str) -> dict[str, Tensor]:
        """Adds a batch to the metrics that are logged as `<split>/<name>`.

        Returns the network's `outputs` on it and the `probabilities` of classes, both
        [batch, classes], for callbacks.
        """
        images, labels = batch
        outputs = self.network(images).float()
        probabilities = self.loss.probabilities(outputs)  # type: ignore[operator]
        metrics: MetricCollection = self.metrics[split]  # type: ignore[assignment]
        update_metrics(metrics, self.loss(outputs, labels), probabilities, labels)
        return {"outputs": outputs, "probabilities": probabilities}

    def configure_optimizers(self) -> Optimizer | tuple[list[Optimizer], list[LRScheduler]]:
        """One optimizer of the network's parameters; a schedule steps with each of its steps."""
        optimizer = self.optimizer_factory(self.parameters())
        if self.scheduler_factory is None:
            return optimizer
        return [optimizer], [self.scheduler_factory(optimizer)]

    def predict_probabilities(
        self, images: Float[Tensor, "batch ..."]
    ) -> Float[Tensor, "batch classes"]:
        return self.loss.probabilities(self.network(images).float())  # type: ignore[operator]

    def has_collapsed(self, metrics: dict[str, float]) -> bool:
        """Whether it guesses: accuracy at chance or hardly above, under 20% for 10 classes."""
        chance = 1 / self.num_classes
        return metrics["val/accuracy"] < chance + (1 - chance) / 9

    def record_fields(self) -> dict[str, str]:
        """`probability_formula`: how the loss makes probabilities of outputs, as `softmax(z)`."""
        documented = inspect.getdoc(self.loss.probabilities) or ""
        return {"probability_formula": documented.partition("\n")[0].rstrip(".")}
