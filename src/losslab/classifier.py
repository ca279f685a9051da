"""Classifier: the LightningModule that holds network, loss, optimizer and the training step."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from jaxtyping import Float
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from torchmetrics import MetricCollection

from losslab.metrics import CALIBRATION, MEASURES, Chance, classification_metrics, is_guess
from runlab.blocks.block import Block
from runlab.losses import ELEMENTWISE
from runlab.measure import Measure, target_of
from runlab.module import Batch, Module, OptimizerFactory


class Classifier(Module):
    """Classifies samples, as images; every part of it is exchanged by one word of configuration.

    `training_step` gets a block: images [steps, batch, channels, height, width] with labels
    [steps, batch]. `take_block` takes one optimizer step for each batch of it, by `loss_step`.

    Args:
        loss: may map outputs to class probabilities, by `probabilities(outputs)`. Without them
            accuracy, by the largest output, is all that is measured beside the loss.
        optimizer: makes an optimizer from named parameters; None for a module that is not trained.
        scheduler: makes a learning-rate schedule from the optimizer; it steps with the optimizer.
        metrics: what is measured besides `losslab.metrics`, of probabilities and labels.
        gradient_clip: largest norm of the whole gradient.
        accumulate_grad_batches: so many batches make one optimizer step, by their mean gradient.
    """

    measures: ClassVar[tuple[Measure, ...]] = MEASURES

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
        if isinstance(loss, ELEMENTWISE):
            raise ValueError(
                "expected a loss of classes, such as loss=cross_entropy or loss=mse, got "
                f"{type(loss).__name__}, which is one of numbers: choose another, or "
                "module=regression or module=plain"
            )
        has_probabilities = hasattr(loss, "probabilities")
        own = classification_metrics(num_classes, has_probabilities)
        if metrics is not None:
            own.add_metrics(metrics)
        super().__init__(
            network, loss, optimizer, scheduler, own, gradient_clip, accumulate_grad_batches
        )
        self.has_probabilities = has_probabilities
        self.num_classes = num_classes
        self.chances = nn.ModuleDict({split: Chance(num_classes) for split in self.metrics})

    @classmethod
    def measures_for(cls, config: Mapping[str, Any]) -> tuple[Measure, ...]:
        """Without those of probabilities, if the configuration's loss makes none."""
        makes = hasattr(target_of("loss", config.get("loss")), "probabilities")
        return tuple(each for each in cls.measures if makes or each.name not in CALIBRATION)

    def training_step(self, batch: Block | Batch, batch_index: int) -> dict[str, Any]:
        """Returns the network's `outputs` on the last batch of the block, before its step."""
        return self.take_block(batch)  # as the base does: here to be seen

    def loss_step(
        self, batch: Batch, drawn: Any
    ) -> tuple[Float[Tensor, ""], Float[Tensor, "batch outputs"]]:
        images, labels = batch
        if labels.is_floating_point():
            raise ValueError(
                f"expected targets of {type(self).__name__} to be numbers of classes, got "
                f"{labels.dtype}: choose module=regression for numbers, module=plain for several "
                "labels of a sample"
            )
        outputs = self(images)  # [batch, classes], or [batch, 1] of two
        self.require_classes(outputs)
        if not self.training:  # 16 bits would round what is measured
            outputs = outputs.float()
        return self.loss(outputs, labels), outputs

    def require_classes(self, outputs: Float[Tensor, "batch outputs"]) -> None:
        """Raises ValueError unless there is one output for each class, or one for two classes."""
        found, classes = outputs.shape[-1], self.num_classes
        if found != classes and (found, classes) != (1, 2):
            raise ValueError(
                f"expected a network with an output for each of {classes} classes "
                f"(module.num_classes), got {found} outputs: give the network as many, as "
                "conf/model/mlp.yaml does by num_classes: ${data.num_classes}"
            )

    def predictions(
        self, outputs: Float[Tensor, "batch outputs"]
    ) -> Float[Tensor, "batch classes"]:
        """The probabilities of classes; the outputs, if the loss makes none of them."""
        return self.loss.probabilities(outputs) if self.has_probabilities else outputs

    def evaluation_step(self, batch: Batch, split: str) -> dict[str, Any]:
        """Returns `outputs`, `predictions` and, where the loss makes them, `probabilities`.

        All are [batch, classes], for callbacks.
        """
        evaluated = super().evaluation_step(batch, split)
        self.chances[split].update(evaluated["predictions"], self.targets(batch))  # type: ignore[operator]
        if self.has_probabilities:
            evaluated["probabilities"] = evaluated["predictions"]
        return evaluated

    def log_metrics(self, split: str) -> None:
        """Logs `<split>/chance` too, for no logger: it is what `has_collapsed` compares with."""
        super().log_metrics(split)
        chance: Any = self.chances[split]
        if not chance.update_called:  # a step of its own measures in its own way
            return
        self.log(f"{split}/chance", chance.compute(), logger=False, sync_dist=True)
        chance.reset()

    def predict_probabilities(
        self, images: Float[Tensor, "batch ..."]
    ) -> Float[Tensor, "batch classes"]:
        """Raises ValueError if the loss makes no probabilities of outputs."""
        if not self.has_probabilities:
            raise ValueError(
                "expected a loss that makes class probabilities of outputs, by a method "
                f"probabilities, got {type(self.loss).__name__}, which has none"
            )
        return self.predictions(self(images).float())

    def has_collapsed(self, last: Mapping[str, float], best: Mapping[str, float]) -> bool:
        """Whether it ends as a guess, or kept less than it lost of what it had learned."""
        return is_guess(last, best)

    def record_fields(self) -> dict[str, str]:
        """`probability_formula`: how the loss makes probabilities of outputs, as `softmax(z)`."""
        if not self.has_probabilities:
            return {}
        documented = inspect.getdoc(self.loss.probabilities) or ""
        return {"probability_formula": documented.partition("\n")[0].rstrip(".")}
