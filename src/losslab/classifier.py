import warnings
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import lightning as L
import torch
from jaxtyping import Float, Int, Num
from lightning.pytorch.core.optimizer import LightningOptimizer
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from torchmetrics import MeanMetric, Metric, MetricCollection
from torchmetrics.classification import MulticlassCalibrationError

from runlab.blocks.metric_buffer import Points

# Lightning 2.6 does this at every checkpoint under torch 2.15; a user can do nothing about it.
warnings.filterwarnings("ignore", message=r"`isinstance\(treespec, LeafSpec\)` is deprecated")
# What a checkpoint within an epoch holds are the weights after its step, as it says it is.
warnings.filterwarnings("ignore", message="Using ModelCheckpoint with manual optimization")

Batch = Sequence[Tensor]  # images, labels
Steps = Callable[["Classifier", Tensor, Tensor], tuple[Tensor, Tensor]]


class Classifier(L.LightningModule):
    """A network with its loss and optimizer, trained step by step inside blocks of batches.

    Lightning and Python cost about as much for each call as a small network's step does, so one
    `training_step` takes a whole block: images [steps, batch, channels, height, width] with labels
    [steps, batch], one optimizer step for each batch. An ordinary batch, one dimension less, is a
    block of one step. This is why optimization is manual; `trainer.global_step` counts optimizer
    steps as usual, and `on_train_batch_end` comes once a block. A block's images may still be
    pixels (uint8): the data module's `normalise` is applied here.

    Args:
        optimizer: makes an optimizer from the parameters.
        scheduler: makes a learning-rate schedule from the optimizer; it steps with the optimizer.
        gradient_clip: largest norm of the whole gradient; Lightning's own `gradient_clip_val` does
            not apply to manual optimization.

    Attributes:
        stack: takes the steps of a block in place of `take_steps`, with those of other runs.
        points: what was logged by `log_deferred`.
        logged: the hooks in which training gave loggers something in Lightning's way this epoch.
    """

    def __init__(
        self,
        network: nn.Module,
        loss: nn.Module,
        optimizer: Callable[[Iterable[nn.Parameter]], Optimizer],
        num_classes: int,
        scheduler: Callable[[Optimizer], LRScheduler] | None = None,
        gradient_clip: float | None = None,
    ) -> None:
        super().__init__()
        if gradient_clip is not None and not gradient_clip > 0:
            raise ValueError(f"expected gradient_clip above 0 or null, got {gradient_clip}")
        self.automatic_optimization = False
        self.network = network
        self.loss = loss
        self.optimizer_factory = optimizer
        self.scheduler_factory = scheduler
        self.gradient_clip = gradient_clip
        self.stack: Steps | None = None
        self.points = Points()
        self.logged: set[str] = set()
        self.quality = nn.ModuleDict({split: quality(num_classes) for split in ("val", "test")})

    def forward(self, images: Float[Tensor, "batch ..."]) -> Float[Tensor, "batch classes"]:
        return self.network(images)

    def predict_probabilities(
        self, images: Float[Tensor, "batch ..."]
    ) -> Float[Tensor, "batch classes"]:
        return self.loss.probabilities(self.network(images).float())  # type: ignore[operator]

    def configure_optimizers(self) -> Any:
        optimizer = self.optimizer_factory(self.network.parameters())
        if self.scheduler_factory is None:
            return optimizer
        return [optimizer], [self.scheduler_factory(optimizer)]

    def training_step(self, batch: Batch, batch_index: int) -> dict[str, Tensor]:
        """The network's outputs on the last batch, before the step on it."""
        if self.points.overdue or self.trainer.world_size > 1:  # devices' clocks differ
            self.points.read(self.trainer)
        images, labels = batch
        if labels.ndim == 1:
            images, labels = images.unsqueeze(0), labels.unsqueeze(0)
        # a product, since a rate that is a tensor is changed in place
        learning_rate = 1 * self.optimizers().param_groups[0]["lr"]  # type: ignore[union-attr]
        take_steps = Classifier.take_steps if self.stack is None else self.stack
        losses, outputs = take_steps(self, images, labels)
        self.log_deferred("train/loss", losses.mean())
        self.log_deferred("train/learning_rate", learning_rate)
        return {"outputs": outputs}

    def take_steps(
        self, images: Num[Tensor, "steps batch ..."], labels: Int[Tensor, "steps batch"]
    ) -> tuple[Float[Tensor, " steps"], Float[Tensor, "batch classes"]]:
        """Each step's loss, and the outputs on the last batch, before the step on it."""
        images = self.prepared(images)
        optimizer: LightningOptimizer = self.optimizers()  # type: ignore[assignment]
        scheduler = self.lr_schedulers()
        losses = []
        for step_images, step_labels in zip(images, labels, strict=True):
            outputs, loss = self.take_step(step_images, step_labels, optimizer)
            losses.append(loss)
            if scheduler is not None:
                scheduler.step()  # type: ignore[union-attr]
        return torch.stack(losses), outputs

    def prepared(self, images: Num[Tensor, "*block"]) -> Float[Tensor, "*block"]:
        """Images as the network takes them."""
        if images.dtype != torch.uint8:
            return images
        data: Any = self.trainer.datamodule  # type: ignore[attr-defined]
        return self.trainer.precision_plugin.convert_input(data.normalise(images))

    def take_step(
        self, images: Float[Tensor, "batch ..."], labels: Int[Tensor, " batch"], optimizer: Any
    ) -> tuple[Float[Tensor, "batch classes"], Float[Tensor, ""]]:
        """Outputs and loss before the step."""
        optimizer.zero_grad()
        outputs = self.network(images)
        loss = self.loss(outputs, labels)
        self.manual_backward(loss)
        optimizer.step()
        return outputs.detach(), loss.detach()

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """Clips here, where 16-bit training has divided its loss scale out again."""
        if self.gradient_clip is not None:
            self.clip_gradients(optimizer, self.gradient_clip, "norm")

    def log_deferred(self, name: str, value: Tensor | float) -> None:
        """Logs a number of a block without a look at it, for which a GPU would have to wait.

        It is read when the next validation starts, at the end of an epoch, with a checkpoint, and
        after half a minute. Loggers get it as of its own step. When a validation or an epoch has
        ended, `callback_metrics` holds, and keeps until the next, its mean since the validation
        before or, without validation, over the epoch. On several devices each has to log it; it is
        their mean.

        Raises:
            ValueError: for a tensor of several numbers.
            TypeError: for what is no number.
        """
        self.points.add(name, value, self.trainer)

    def log(
        self, name: str, value: Any, prog_bar: bool = False, logger: bool | None = None,
        *args: Any, **kwargs: Any,
    ) -> None:  # fmt: skip
        """Lightning's; in training, too, against optimizer steps."""
        super().log(name, value, prog_bar, logger, *args, **kwargs)
        if self.training and logger is not False:
            self.logged.add(str(self._current_fx_name))

    def setup(self, stage: str) -> None:
        if stage == "fit":
            self.points = Points()

    def on_train_batch_end(self, *_: Any) -> None:
        if any("epoch" not in hook for hook in self.logged):
            self.log_step()

    def on_validation_start(self) -> None:
        if self.trainer.state.fn == TrainerFn.FITTING:
            self.points.read(self.trainer)

    def on_train_epoch_end(self) -> None:
        self.points.read(self.trainer)  # where no validation came last
        self.log_means()
        if not self.trainer.enable_validation:
            self.points.forget()
        if self.logged:
            self.log_step()
        self.logged.clear()

    def log_means(self) -> None:
        for name, mean in self.points.means().items():
            self.log(name, mean, logger=False, sync_dist=True)

    def validation_step(self, batch: Batch, batch_index: int) -> dict[str, Tensor]:
        return self.evaluate(batch, "val")

    def test_step(self, batch: Batch, batch_index: int) -> dict[str, Tensor]:
        return self.evaluate(batch, "test")

    def on_validation_epoch_end(self) -> None:
        if self.trainer.state.fn == TrainerFn.FITTING:
            self.log_means()
            self.points.forget()
        self.log_quality("val")

    def on_test_epoch_end(self) -> None:
        self.log_quality("test")

    def evaluate(self, batch: Batch, split: str) -> dict[str, Tensor]:
        """Adds a batch to what `log_quality` measures.

        Returns the network's `outputs` on it and the `probabilities` of classes, both
        [batch, classes], for callbacks.
        """
        images, labels = batch
        outputs = self.network(images).float()
        probabilities = self.loss.probabilities(outputs)  # type: ignore[operator]
        metrics: MetricCollection = self.quality[split]  # type: ignore[assignment]
        truth = probabilities.gather(1, labels.unsqueeze(1)).squeeze(1)  # [batch]
        one_hot = torch.zeros_like(probabilities).scatter(1, labels.unsqueeze(1), 1.0)
        # once for each image: with nan_strategy="disable" torchmetrics 1.9 ignores a weight
        metrics["loss"].update(self.loss(outputs, labels).expand(len(labels)))
        metrics["accuracy"].update((probabilities.argmax(dim=1) == labels).float())
        metrics["nll"].update(-truth.clamp(min=torch.finfo(truth.dtype).tiny).log())
        metrics["brier"].update((probabilities - one_hot).square().sum(dim=1))
        metrics["ece"].update(probabilities, labels)
        return {"outputs": outputs, "probabilities": probabilities}

    def log_quality(self, split: str) -> None:
        metrics: MetricCollection = self.quality[split]  # type: ignore[assignment]
        values = metrics.compute()
        values["ece"] = values["ece"] + 0 * values["brier"]  # torchmetrics' ECE of NaN is a number
        images: Any = metrics["accuracy"].weight  # as many as this process looked at
        metrics.reset()
        # What is measured outside of fit, of the best weights, is no point of a curve.
        fitting = self.trainer.state.fn == TrainerFn.FITTING
        for name, value in values.items():
            self.log(f"{split}/{name}", value, logger=None if fitting else False, sync_dist=True)
        self.log(f"{split}/images", images, logger=False, reduce_fx="sum", sync_dist=True)
        if fitting:
            self.log_step()

    def log_step(self) -> None:
        """Makes optimizer steps the x axis of what this hook logs; Lightning would count blocks."""
        step = float(self.trainer.global_step)
        # of one device, and so without waiting for others, which may have nothing to log
        self.log("step", step, sync_dist=True, rank_zero_only=True)


def score(classifier: Classifier, trainer: L.Trainer, data: Any) -> dict[str, float]:
    """`val/*` and `test/*` of the weights as they are, on a data module's two splits."""
    metrics: dict[str, float] = {}
    for split, evaluate in (("val/", trainer.validate), ("test/", trainer.test)):
        evaluate(classifier, datamodule=data, verbose=False)
        scored = {name: float(value) for name, value in trainer.callback_metrics.items()}
        metrics |= {name: value for name, value in scored.items() if name.startswith(split)}
    return metrics


def quality(num_classes: int) -> MetricCollection:
    """What is measured of predictions: the loss, and four quantities that no loss defines.

    accuracy: share of images whose likeliest class is right. nll: mean −log p[label], natural
    logarithm, p no smaller than float32's least normal number (so at most 87.3). brier: mean
    Σ_c (p_c − y_c)², 0 to 2 (Brier 1950). ece: expected calibration error over 15 equal bins of the
    confidence (Guo et al. 2017). NaN stays NaN.
    """
    metrics: dict[str, Metric | MetricCollection] = {
        name: MeanMetric(nan_strategy="disable") for name in ("loss", "accuracy", "nll", "brier")
    }
    metrics["ece"] = MulticlassCalibrationError(num_classes, n_bins=15, validate_args=False)
    return MetricCollection(metrics, compute_groups=False)
