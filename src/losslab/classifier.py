"""Classifier: the LightningModule that holds network, loss, optimizer and the training step."""

import inspect
from collections.abc import Callable
from typing import Any, ClassVar

from jaxtyping import Float
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from torchmetrics import MetricCollection

from losslab.metrics import MEASURES, classification_metrics
from runlab.blocks.block import Block
from runlab.measure import Measure
from runlab.module import Batch, Module, OptimizerFactory


class Classifier(Module):
    """Classifies samples, as images; every part of it is exchanged by one word of configuration.

    `training_step` gets a block: images [steps, batch, channels, height, width] with labels
    [steps, batch]. `take_block` takes one optimizer step for each batch of it, by `loss_step`.

    Args:
        loss: also maps outputs to class probabilities, by `probabilities(outputs)`.
        optimizer: makes an optimizer from named parameters; None for a module that is not trained.
        scheduler: makes a learning-rate schedule from the optimizer; it steps with the optimizer.
        metrics: what is measured besides `losslab.metrics`, of probabilities and labels.
        gradient_clip: largest norm of the whole gradient.
        accumulate_grad_batches: so many batches make one optimizer step, by their mean gradient.
    """

    measures: ClassVar[tuple[Measure, ...]] = MEASURES
    stackable = True  # a step is loss(network(images), labels), and nothing else

    def __init__(
        self,
        network: nn.Module,
        loss: nn.Module,
        optimizer: OptimizerFactory | None,
        num_classes: int,
        scheduler: Callable[[Optimizer], LRScheduler] | None = None,
        metrics: MetricCollection | None = None,
        gradient_clip: float | None = None,
        accumulate_grad_batches: int = 1,
    ) -> None:
        own = classification_metrics(num_classes)
        if metrics is not None:
            own.add_metrics(metrics)
        super().__init__(
            network, loss, optimizer, scheduler, own, gradient_clip, accumulate_grad_batches
        )
        self.num_classes = num_classes

    def training_step(self, batch: Block | Batch, batch_index: int) -> dict[str, Any]:
        """Returns the network's `outputs` on the last batch of the block, before its step."""
        return self.take_block(batch)

    def loss_step(
        self, batch: Batch, drawn: Any
    ) -> tuple[Float[Tensor, ""], Float[Tensor, "batch classes"]]:
        images, labels = batch
        outputs = self(images)  # [batch, classes]
        if not self.training:  # 16 bits would round what is measured
            outputs = outputs.float()
        return self.loss(outputs, labels), outputs

    def predictions(
        self, outputs: Float[Tensor, "batch classes"]
    ) -> Float[Tensor, "batch classes"]:
        """The probabilities of classes."""
        return self.loss.probabilities(outputs)

    def evaluation_step(self, batch: Batch, split: str) -> dict[str, Any]:
        """Returns `outputs` and `probabilities`, both [batch, classes], for callbacks."""
        evaluated = super().evaluation_step(batch, split)
        return evaluated | {"probabilities": evaluated["predictions"]}

    def predict_probabilities(
        self, images: Float[Tensor, "batch ..."]
    ) -> Float[Tensor, "batch classes"]:
        return self.predictions(self(images).float())

    def has_collapsed(self, metrics: dict[str, float]) -> bool:
        """Whether it guesses: accuracy at chance or hardly above, under 20% for 10 classes."""
        chance = 1 / self.num_classes
        return metrics["val/accuracy"] < chance + (1 - chance) / 9

    def record_fields(self) -> dict[str, str]:
        """`probability_formula`: how the loss makes probabilities of outputs, as `softmax(z)`."""
        documented = inspect.getdoc(self.loss.probabilities) or ""
        return {"probability_formula": documented.partition("\n")[0].rstrip(".")}
