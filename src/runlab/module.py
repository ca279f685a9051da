"""Module: the LightningModule to derive from; its training step takes a block of batches."""

import warnings
from collections.abc import Callable, Iterable, Sequence
from contextvars import ContextVar
from numbers import Number
from typing import Any, ClassVar

import lightning as L
import torch
from jaxtyping import Float, Num
from lightning.pytorch.core.optimizer import LightningOptimizer
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from torchmetrics import MetricCollection

from runlab.blocks.metric_buffer import MetricBuffer, number_on_cpu, read_logged
from runlab.measure import Measure

# Lightning 2.6 does this at every checkpoint under torch 2.15; a user can do nothing about it.
warnings.filterwarnings("ignore", message=r"`isinstance\(treespec, LeafSpec\)` is deprecated")
# What a checkpoint within an epoch holds are the weights after its step, as it says it is.
warnings.filterwarnings("ignore", message="Using ModelCheckpoint with manual optimization")
# Wherever SLURM is installed, Lightning would hint at it in every process of every command.
warnings.filterwarnings("ignore", message="The `srun` command is available on your system")

Batch = Sequence[Tensor]
"""Inputs and targets."""

TakeSteps = Callable[["Module", Tensor, Tensor], tuple[Tensor, Tensor]]
"""Takes the optimizer steps of a block: returns what `Module.take_steps` returns."""

stack_of_run: ContextVar[TakeSteps | None] = ContextVar("stack_of_run", default=None)
"""Takes a run's steps together with those of other runs; None for a run that trains alone."""


def no_optimizer(parameters: Iterable[nn.Parameter]) -> Optimizer:
    raise ValueError(
        "expected a module with an optimizer to train, got one without, as it is loaded from a "
        "checkpoint to be evaluated: build it with an optimizer"
    )


class StackDifferenceError(ValueError):
    """What a stack has computed is not what its runs compute alone: their weights are wrong."""


class Module(L.LightningModule):
    """A network with its loss and optimizer, trained step by step inside blocks of batches.

    Lightning and Python cost about as much for each call as a small network's step does, so one
    `training_step` takes a whole block: inputs [steps, batch, ...] with targets [steps, batch], one
    optimizer step for each batch. An ordinary batch, one dimension less, is a block of one step.
    This is why optimization is manual; `trainer.global_step` counts optimizer steps as usual, and
    `on_train_batch_end` comes once a block. A block's inputs may still be bytes (uint8): the data
    module's `normalize` is applied to them in the step.

    A subclass writes `training_step` (which returns `take_block(batch)`), `loss_step`,
    `validation_step`, `test_step` and `configure_optimizers`.

    Args:
        optimizer: makes an optimizer from the parameters; None for a module that is not trained.
        metrics: what an evaluation measures, on validation and on test data. One of them is `loss`,
            a `MeanMetric` that gets each sample's loss: by its weight samples are counted.
        scheduler: makes a learning-rate schedule from the optimizer; it steps with the optimizer.
        gradient_clip: largest norm of the whole gradient; Lightning's own `gradient_clip_val` does
            not apply to manual optimization.

    Attributes:
        measures: the metrics that runs are compared by, the primary one first.
        stackable: whether runs of exactly this class may train together as one computation, since
            `loss_step` is loss(network(inputs), targets) and nothing else happens in a step. A
            subclass has to say so again. So may the class of a module in network or loss, of an
            optimizer or of a data module: that what it holds besides parameters, buffers and plain
            values is the same for all runs and at each step.
        metrics: by split, `val` and `test`.
        stack: takes the steps of a block in place of `take_steps`, with those of other runs.
        metric_buffer: what was logged by `log_deferred`.
        logging_hooks: in which training has given loggers something by `log` in this epoch.

    Raises:
        ValueError: if `gradient_clip` is not above 0.
    """

    measures: ClassVar[tuple[Measure, ...]] = ()
    stackable: ClassVar[bool] = False
    accumulate_grad_batches = 1

    def __init__(
        self,
        network: nn.Module,
        loss: nn.Module,
        optimizer: Callable[[Iterable[nn.Parameter]], Optimizer] | None,
        metrics: MetricCollection,
        scheduler: Callable[[Optimizer], LRScheduler] | None = None,
        gradient_clip: float | None = None,
    ) -> None:
        super().__init__()
        if gradient_clip is not None and not gradient_clip > 0:
            raise ValueError(f"expected gradient_clip above 0 or null, got {gradient_clip}")
        self.automatic_optimization = False
        self.network = network
        self.loss = loss
        self.optimizer_factory = no_optimizer if optimizer is None else optimizer
        self.scheduler_factory = scheduler
        self.gradient_clip = gradient_clip
        self.metrics = nn.ModuleDict({split: metrics.clone() for split in ("val", "test")})
        self.stack: TakeSteps | None = None
        self.metric_buffer = MetricBuffer()
        self.logging_hooks: set[str] = set()

    def record_fields(self) -> dict[str, str]:
        """What the run record says of the module besides its configuration."""
        return {}

    def has_collapsed(self, metrics: dict[str, float]) -> bool:
        """Whether a run whose last metrics are these, all finite, has learned nothing."""
        return False

    # The training step, from the block down to the single step

    def take_block(self, batch: Batch) -> dict[str, Tensor]:
        """Takes one optimizer step for each batch of a block, and logs their mean loss.

        Returns the network's `outputs` on the last batch, before the step on it.
        """
        if self.metric_buffer.is_overdue or self.trainer.world_size > 1:  # devices' clocks differ
            self.metric_buffer.flush(self.trainer)
        inputs, targets = batch
        if targets.ndim == 1:  # an ordinary batch: [batch] -> [1, batch]
            inputs, targets = inputs.unsqueeze(0), targets.unsqueeze(0)
        # a product, since a rate that is a tensor is changed in place
        learning_rate = 1 * self.optimizers().param_groups[0]["lr"]  # type: ignore[union-attr]
        take_steps = type(self).take_steps if self.stack is None else self.stack
        losses, outputs = take_steps(self, inputs, targets)
        self.log_deferred("train/loss", losses.mean())
        self.log_deferred("train/learning_rate", learning_rate)
        return {"outputs": outputs}

    def take_steps(
        self, inputs: Num[Tensor, "steps batch ..."], targets: Num[Tensor, "steps batch ..."]
    ) -> tuple[Float[Tensor, " steps"], Float[Tensor, "batch ..."]]:
        """Each step's loss, and the outputs on the last batch, before the step on it."""
        inputs = self.prepare_inputs(inputs)
        optimizer: LightningOptimizer = self.optimizers()  # type: ignore[assignment]
        scheduler = self.lr_schedulers()
        losses = []
        for step_inputs, step_targets in zip(inputs, targets, strict=True):
            loss, outputs = self.take_step(step_inputs, step_targets, optimizer)
            losses.append(loss)
            if scheduler is not None:
                scheduler.step()  # type: ignore[union-attr]
        return torch.stack(losses), outputs

    def prepare_inputs(self, inputs: Num[Tensor, "*block"]) -> Float[Tensor, "*block"]:
        """Inputs as the network takes them: the data module normalizes bytes."""
        if inputs.dtype != torch.uint8:
            return inputs
        data: Any = self.trainer.datamodule  # type: ignore[attr-defined]
        return self.trainer.precision_plugin.convert_input(data.normalize(inputs))

    def take_step(
        self, inputs: Float[Tensor, "batch ..."], targets: Num[Tensor, "batch ..."], optimizer: Any
    ) -> tuple[Float[Tensor, ""], Float[Tensor, "batch ..."]]:
        """Loss and outputs before the step."""
        optimizer.zero_grad()
        loss, outputs = self.loss_step(inputs, targets)
        self.manual_backward(loss)
        optimizer.step()
        return loss.detach(), outputs.detach()

    def loss_step(
        self, inputs: Float[Tensor, "batch ..."], targets: Num[Tensor, "batch ..."]
    ) -> tuple[Float[Tensor, ""], Float[Tensor, "batch ..."]]:
        """The loss of a batch, and the network's outputs on it."""
        raise NotImplementedError(f"{type(self).__name__} has to write loss_step(inputs, targets)")

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """Clips here, where 16-bit training has divided its loss scale out again."""
        if self.gradient_clip is not None:
            self.clip_gradients(optimizer, self.gradient_clip, "norm")

    # What is logged, and when

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
        self.metric_buffer.add(name, value, self.trainer)

    def log(
        self, name: str, value: Any, prog_bar: bool = False, logger: bool | None = None,
        *args: Any, **kwargs: Any,
    ) -> None:  # fmt: skip
        """Lightning's; in training, too, against optimizer steps."""
        trainer = self._trainer
        if isinstance(value, Number) and trainer is not None and trainer.world_size == 1:
            value = number_on_cpu(value)  # Lightning would take it to the device, and back
        super().log(name, value, prog_bar, logger, *args, **kwargs)
        if self.training and logger is not False:
            self.logging_hooks.add(str(self._current_fx_name))

    def setup(self, stage: str) -> None:
        if stage == "fit":
            self.metric_buffer = MetricBuffer()

    def on_train_batch_end(self, *_: Any) -> None:
        if any("epoch" not in hook for hook in self.logging_hooks):
            self.log_step()

    def on_validation_start(self) -> None:
        if self.trainer.state.fn == TrainerFn.FITTING:
            self.metric_buffer.flush(self.trainer)

    def on_train_epoch_end(self) -> None:
        self.metric_buffer.flush(self.trainer)  # where no validation came last
        self.log_deferred_means()
        if not self.trainer.enable_validation:
            self.metric_buffer.reset()
        if self.logging_hooks:
            self.log_step()
        self.logging_hooks.clear()

    def on_validation_epoch_end(self) -> None:
        if self.trainer.state.fn == TrainerFn.FITTING:
            self.log_deferred_means()
            self.metric_buffer.reset()
        self.log_metrics("val")
        read_logged(self.trainer)

    def on_test_epoch_end(self) -> None:
        self.log_metrics("test")
        read_logged(self.trainer)

    def log_deferred_means(self) -> None:
        for name, mean in self.metric_buffer.means().items():
            self.log(name, mean, logger=False, sync_dist=True)

    def log_metrics(self, split: str) -> None:
        """Logs what an evaluation has measured, `<split>/<name>`, and how many samples it saw."""
        metrics: MetricCollection = self.metrics[split]  # type: ignore[assignment]
        values = metrics.compute()
        samples: Any = metrics["loss"].weight  # as many as this process looked at
        metrics.reset()
        # What is measured outside of fit, of the best weights, is no point of a curve.
        fitting = self.trainer.state.fn == TrainerFn.FITTING
        for name, value in values.items():
            self.log(f"{split}/{name}", value, logger=None if fitting else False, sync_dist=True)
        self.log(f"{split}/samples", samples, logger=False, reduce_fx="sum", sync_dist=True)
        if fitting:
            self.log_step()

    def log_step(self) -> None:
        """Makes optimizer steps the x axis of what this hook logs; Lightning would count blocks."""
        step = float(self.trainer.global_step)
        # of one device, and so without waiting for others, which may have nothing to log
        self.log("step", step, sync_dist=True, rank_zero_only=True)
