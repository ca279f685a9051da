"""Module: the LightningModule to derive from; its training step takes a block of batches."""

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from contextvars import ContextVar
from typing import Any, ClassVar

import lightning as L
import torch
from jaxtyping import Float
from lightning.pytorch.core.optimizer import LightningOptimizer
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils._pytree import tree_leaves, tree_map
from torchmetrics import MeanMetric, MetricCollection

from runlab.blocks.block import Block, samples_in
from runlab.blocks.metric_buffer import read_logged
from runlab.blocks.purity import leaves_unchanged
from runlab.blocks.random import AUGMENT, DRAW, augments, step_generator
from runlab.config.messages import require_not_raised_by
from runlab.logged import LoggedModule
from runlab.losses import doubled_ratio, require_mean, require_same_shape
from runlab.measure import LOSS, Measure
from runlab.schedules import for_lightning, step_by_metric, step_schedules

# Lightning 2.6 does this at every checkpoint under torch 2.15; a user can do nothing about it.
warnings.filterwarnings("ignore", message=r"`isinstance\(treespec, LeafSpec\)` is deprecated")
# What a checkpoint within an epoch holds are the weights after its step, as it says it is.
warnings.filterwarnings("ignore", message="Using ModelCheckpoint with manual optimization")
# Wherever SLURM is installed, Lightning would hint at it in every process of every command.
warnings.filterwarnings("ignore", message="The `srun` command is available on your system")

Batch = Any
"""What a data module gives for one step: a tuple of inputs and targets, a dict, a tensor."""

Outputs = Any
"""A tensor, or a nest of tensors, [batch, ...]."""

OptimizerFactory = Callable[[Iterable[tuple[str, nn.Parameter]]], Optimizer]
"""Makes an optimizer from named parameters, as every class of `torch.optim` does."""

TakeSteps = Callable[["Module", Any], tuple[Tensor, Outputs]]
"""Takes the optimizer steps of a block or a batch: returns what `Module.take_steps` returns."""

stack_of_run: ContextVar[TakeSteps | None] = ContextVar("stack_of_run", default=None)
"""Takes a run's steps together with those of other runs; None for a run that trains alone."""


def no_optimizer(parameters: Iterable[tuple[str, nn.Parameter]]) -> Optimizer:
    raise ValueError(
        "expected a module with an optimizer to train, got one without, as it is loaded from a "
        "checkpoint to be evaluated: build it with an optimizer"
    )


class StackDifferenceError(ValueError):
    """What a stack has computed is not what its runs compute alone: their weights are wrong."""


class Module(LoggedModule):
    """A LightningModule whose subclass writes how one batch becomes a loss.

    That is `loss_step`. It is pure: it reads parameters, buffers, the batch and what was drawn, and
    changes nothing else than buffers. So the engine may take many steps at once, and those of
    several runs in one computation. What a step draws at random comes from `draw`.

    Lightning and Python cost about as much for each call as a small network's step does, so one
    `training_step` takes a whole `Block` of batches, [steps, batch, ...], one optimizer step for
    each. Any other batch is one step. This is why optimization is manual; `trainer.global_step`
    counts optimizer steps as usual, and `on_train_batch_end` comes once a block. Inputs may still
    be bytes (uint8): the data module's `normalize` is applied to them in the step.

    Args:
        network, loss: as `loss_step` needs them; one that is written anew may need neither.
        optimizer: makes an optimizer from the named parameters; None for a module that is not
            trained.
        scheduler: makes a learning-rate schedule from the optimizer; it steps with the optimizer.
            Or Lightning's dict of one, with `interval`, `frequency` and `monitor`: as that says.
        metrics: what an evaluation measures besides the loss, on validation and on test data; each
            is updated with `predictions` and `targets`.
        gradient_clip: largest norm of the whole gradient, or largest value in it, as
            `gradient_clip_algorithm` (norm or value) says; it is Lightning's `gradient_clip_val`.
        accumulate_grad_batches: so many batches make one optimizer step, by their mean gradient.

    Attributes:
        measures: the metrics that runs are compared by, the primary one first.
        stackable: what a module, optimizer or data module holds besides parameters, buffers and
            plain values keeps its run from being stacked with others, unless exactly its class says
            here that it is the same for all runs and at each step.
        metrics, losses: by split, `val` and `test`.
        seed: of `draw`.
        pending_batches: whose gradients wait for the next optimizer step.
        stack: takes the steps of a block in place of `take_steps`, with those of other runs.
        is_first_block: of a fit; in it, `loss_step` is watched for changes of its batch.
        has_tried_loss: whether it is known to be a mean, see `doubled_ratio`.

    Raises:
        ValueError: if `gradient_clip` is not above 0, or `accumulate_grad_batches` is under 1.
    """

    network: Any
    loss: Any
    measures: ClassVar[tuple[Measure, ...]] = (LOSS,)
    stackable: ClassVar[bool] = False

    def __init__(
        self,
        network: nn.Module | None = None,
        loss: nn.Module | None = None,
        optimizer: OptimizerFactory | None = None,
        scheduler: Callable[[Optimizer], Any] | None = None,
        metrics: MetricCollection | None = None,
        gradient_clip: float | None = None,
        accumulate_grad_batches: int = 1,
    ) -> None:
        super().__init__()
        if gradient_clip is not None and not gradient_clip > 0:
            raise ValueError(
                f"expected trainer.gradient_clip_val above 0 or null, got {gradient_clip}"
            )
        if accumulate_grad_batches < 1:
            raise ValueError(
                f"expected trainer.accumulate_grad_batches of at least 1, got "
                f"{accumulate_grad_batches}"
            )
        self.automatic_optimization = False
        self.is_in_loss_step = False
        self.is_first_block = True
        self.network = network
        self.loss = loss
        self.optimizer_factory = no_optimizer if optimizer is None else optimizer
        self.scheduler_factory = scheduler
        self.schedule_metric: str | None = None
        self.gradient_clip = gradient_clip
        self.accumulate_grad_batches = accumulate_grad_batches
        metrics = MetricCollection({}) if metrics is None else metrics
        self.metrics = nn.ModuleDict({split: metrics.clone() for split in ("val", "test")})
        self.losses = nn.ModuleDict(
            {split: MeanMetric(nan_strategy="disable") for split in ("val", "test")}
        )
        self.seed = 0
        self.gradient_clip_algorithm = "norm"
        self.first_step = 0
        self.pending_batches = self.first_pending = 0
        self.has_tried_loss = False
        self.stack: TakeSteps | None = None

    # What a subclass writes

    def loss_step(self, batch: Batch, drawn: Any) -> tuple[Float[Tensor, ""], Outputs]:
        """The mean loss of a batch, and the outputs for it. Without side effects.

        Args:
            drawn: what `draw` gave for this batch; None in validation and test.
        """
        inputs, targets = batch
        outputs = self.network(inputs)
        require_same_shape(self.loss, outputs, targets)
        return self.loss(outputs, targets), outputs

    def draw(self, batch: Batch, generator: torch.Generator) -> Any:
        """What a training step draws at random: a tensor, or a nest of tensors, on its device.

        It is called before the step, outside of what is traced, and changes nothing: neither the
        module nor the batch. The generator is on the module's device, and is a function of the
        seed and the number of the step. The batch is as the data module gives it: bytes are not
        normalized yet.
        """
        return None

    def predictions(self, outputs: Outputs) -> Any:
        """What metrics get, of the outputs on a batch; 16-bit outputs come as float32."""
        return outputs

    def targets(self, batch: Batch) -> Any:
        """What metrics compare predictions with."""
        return batch[1]

    def batch_size(self, batch: Batch) -> int:
        """Samples in a batch, by which means weigh it: the length of its first tensor."""
        return samples_in(batch)

    def record_fields(self) -> dict[str, str]:
        """What the run record says of the module besides its configuration."""
        return {}

    @classmethod
    def measures_for(cls, config: Mapping[str, Any]) -> tuple[Measure, ...]:
        """Those of `measures` that a run of this configuration measures."""
        return cls.measures

    def has_collapsed(self, last: Mapping[str, float], best: Mapping[str, float]) -> bool:
        """Whether a run ends as a guess: it has learned nothing, or lost what it had learned.

        Args:
            last: what the last validation of the training measured, `val/*`, all finite.
            best: what a validation of the weights that are tested measured.
        """
        return False

    # Lightning's hooks

    def forward(self, inputs: Any) -> Outputs:
        return self.network(inputs)

    def training_step(self, batch: Block | Batch, batch_index: int) -> dict[str, Any]:
        """Returns the `outputs` on the last batch of the block, before its step."""
        return self.take_block(batch)

    def validation_step(self, batch: Batch, batch_index: int) -> dict[str, Any]:
        return self.evaluation_step(batch, "val")

    def test_step(self, batch: Batch, batch_index: int) -> dict[str, Any]:
        return self.evaluation_step(batch, "test")

    def configure_optimizers(self) -> Any:
        """One optimizer of all parameters; a schedule steps with it, or as its interval says."""
        optimizer = self.optimizer_factory(self.named_parameters())
        if self.scheduler_factory is None:
            return optimizer
        schedule, self.schedule_metric = for_lightning(self.scheduler_factory(optimizer))
        return {"optimizer": optimizer, "lr_scheduler": schedule}

    # The training step, from the block down to the single step

    def take_block(self, batch: Block | Batch) -> dict[str, Any]:
        """Takes one optimizer step for each batch of a block, and logs their mean loss."""
        if self.metric_buffer.is_overdue or self.trainer.world_size > 1:  # devices' clocks differ
            self.metric_buffer.flush(self.trainer)
        # a product, since a rate that is a tensor is changed in place
        learning_rate = 1 * self.single_optimizer().param_groups[0]["lr"]
        self.first_step, self.first_pending = self.trainer.global_step, self.pending_batches
        take_steps = type(self).take_steps if self.stack is None else self.stack
        losses, outputs = take_steps(self, batch)
        self.is_first_block = False
        self.log_deferred("train/loss", losses.mean())
        self.log_deferred("train/learning_rate", learning_rate)
        return {"outputs": outputs}

    def take_steps(self, batch: Block | Batch) -> tuple[Float[Tensor, " steps"], Outputs]:
        """Each step's loss, and the outputs on the last batch, before the step on it."""
        optimizer = self.single_optimizer()
        has_schedule = self.lr_schedulers() is not None
        losses = []
        size = batch.steps if isinstance(batch, Block) else 1
        for number, (ready, drawn) in enumerate(self.step_batches(batch), start=1):
            is_last = number == size and self.trainer.is_last_batch
            loss, outputs = self.take_step(ready, drawn, optimizer, is_last)
            losses.append(loss)
            if has_schedule and self.pending_batches == 0:
                step_schedules(self.trainer, self.trainer.global_step, is_last)
        return torch.stack(losses), outputs

    def single_optimizer(self) -> LightningOptimizer:
        found: Any = self.optimizers()
        if isinstance(found, list):
            raise ValueError(
                f"expected one optimizer of {type(self).__name__}, got {len(found)}: give one "
                "several groups of parameters, or derive from LightningModule"
            )
        return found

    def step_batches(self, batch: Block | Batch) -> Iterator[tuple[Batch, Any]]:
        """For each step, what `loss_step` gets."""
        if isinstance(batch, Block) and not self.draws_before_steps:
            inputs = self.prepare_inputs(batch.inputs)  # of the whole block at once
            yield from ((pair, None) for pair in zip(inputs, batch.targets, strict=True))
            return
        for step in range(batch.steps if isinstance(batch, Block) else 1):
            raw, drawn = self.step_batch(batch, step)
            yield self.prepare(raw), drawn

    @property
    def draws_before_steps(self) -> bool:
        """Whether data module or module draw something at random for each step."""
        data = getattr(self.trainer, "datamodule", None)
        return augments(data) or type(self).draw is not Module.draw

    def step_batch(self, batch: Block | Batch, step: int) -> tuple[Batch, Any]:
        """One step's batch, not prepared yet, and what is drawn for it: eager, never traced.

        An ordinary batch was augmented by its data module, if it does that.
        """
        steps, part = divmod(self.first_pending + step, self.accumulate_grad_batches)
        number = self.first_step + steps
        if isinstance(batch, Block):
            data: Any = getattr(self.trainer, "datamodule", None)
            inputs, targets = batch.batch(step)
            if augments(data):
                seed = getattr(data, "seed", self.seed)
                generator = step_generator(seed, number, AUGMENT, inputs.device, part)
                with leaves_unchanged(f"augment of {type(data).__name__}", inputs=inputs):
                    inputs = data.augment(inputs, generator)
            batch = inputs, targets
        if type(self).draw is Module.draw:
            return batch, None
        name, before = f"draw of {type(self).__name__}", dict(vars(self))
        with leaves_unchanged(name, batch=batch, module=[*self.parameters(), *self.buffers()]):
            drawn = self.draw(batch, step_generator(self.seed, number, DRAW, self.device, part))
        if changed := [key for key, value in vars(self).items() if before.get(key) is not value]:
            raise ValueError(
                f"expected {name} to leave the module as it is, got another {changed[0]}: keep "
                "what changes in a buffer, which loss_step may change"
            )
        for each in tree_leaves(drawn):
            if not isinstance(each, Tensor):
                raise ValueError(
                    f"expected draw of {type(self).__name__} to return tensors, got a "
                    f"{type(each).__name__}: make it a tensor"
                )
        return batch, drawn

    def prepare(self, batch: Batch) -> Batch:
        """The batch as `loss_step` gets it: inputs that are bytes are normalized."""
        if not isinstance(batch, tuple | list) or not isinstance(batch[0], Tensor):
            return batch
        return (self.prepare_inputs(batch[0]), *batch[1:])

    def prepare_inputs(self, inputs: Tensor) -> Tensor:
        """Inputs as the network takes them: the data module normalizes bytes, if it can."""
        if inputs.dtype != torch.uint8:
            return inputs
        data: Any = getattr(self.trainer, "datamodule", None)
        if not hasattr(data, "normalize"):
            return inputs
        return self.trainer.precision_plugin.convert_input(data.normalize(inputs))

    def take_step(
        self, batch: Batch, drawn: Any, optimizer: Any, is_last: bool = False
    ) -> tuple[Float[Tensor, ""], Outputs]:
        """Loss and outputs before the step, for which a batch may have to wait for others.

        As in Lightning, an epoch's last batch (`is_last`) does not wait, and a sum of fewer
        gradients is divided by as many batches as any other.
        """
        if self.pending_batches == 0:
            optimizer.zero_grad()
        loss, outputs = self.checked_loss(batch, drawn)
        together = self.accumulate_grad_batches
        self.manual_backward(loss if together == 1 else loss / together)
        self.pending_batches += 1
        if self.pending_batches == together or is_last:
            self.pending_batches = 0
            optimizer.step()
        return loss.detach(), tree_map(Tensor.detach, outputs)

    def checked_loss(self, batch: Batch, drawn: Any) -> tuple[Float[Tensor, ""], Outputs]:
        """As `compute_loss`; raises ValueError, which names the loss, if a method of it fails."""
        try:
            return self.compute_loss(batch, drawn)
        except Exception as error:
            require_not_raised_by("loss", self.loss, error)
            raise

    def compute_loss(self, batch: Batch, drawn: Any) -> tuple[Float[Tensor, ""], Outputs]:
        """What `loss_step` returns; meanwhile there is no trainer, and nothing can be logged.

        Raises:
            ValueError: where it reads the trainer or logs.
        """
        watched: AbstractContextManager[None] = nullcontext()
        if self.is_first_block:  # a look at each step would cost some percent of it
            watched = leaves_unchanged(
                f"loss_step of {type(self).__name__}", batch=batch, draw=drawn
            )
        vars(self)["is_in_loss_step"] = True  # past nn.Module, which would look it over
        try:
            with watched:
                returned = self.loss_step(batch, drawn)
        finally:
            vars(self)["is_in_loss_step"] = False
        if not isinstance(returned, tuple) or len(returned) != 2:
            raise ValueError(
                f"expected loss_step of {type(self).__name__} to return the loss and the outputs, "
                f"got a {type(returned).__name__}: return loss, outputs"
            )
        loss, outputs = returned
        if not isinstance(loss, Tensor):
            raise ValueError(
                f"expected loss_step of {type(self).__name__} to return the loss as a tensor, got "
                f"a {type(loss).__name__}"
            )
        if loss.shape != ():
            raise ValueError(
                f"expected loss_step of {type(self).__name__} to return one number, the mean over "
                f"the batch, got a tensor of shape {list(loss.shape)}: take its mean"
            )
        return loss, outputs

    def require_no_loss_step(self, what: str) -> None:
        if self.is_in_loss_step:
            raise ValueError(
                f"expected loss_step of {type(self).__name__} to read parameters, buffers, its "
                f"batch and what was drawn alone, got {what} in it: move that to training_step or "
                "to a callback, so that several runs can train as one"
            )

    @property
    def trainer(self) -> L.Trainer:
        self.require_no_loss_step("self.trainer")
        return L.LightningModule.trainer.fget(self)  # type: ignore[attr-defined]

    @trainer.setter
    def trainer(self, trainer: L.Trainer | None) -> None:
        L.LightningModule.trainer.fset(self, trainer)  # type: ignore[attr-defined]

    @property
    def logger(self) -> Any:
        self.require_no_loss_step("self.logger")
        return super().logger

    @property
    def loggers(self) -> Any:
        self.require_no_loss_step("self.loggers")
        return super().loggers

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """Clips here, where 16-bit training has divided its loss scale out again."""
        if self.gradient_clip is not None:
            self.clip_gradients(optimizer, self.gradient_clip, self.gradient_clip_algorithm)

    def on_validation_model_zero_grad(self) -> None:
        if self.pending_batches == 0:
            super().on_validation_model_zero_grad()

    # Validation and test

    def evaluation_step(self, batch: Batch, split: str) -> dict[str, Any]:
        """Adds a batch to what is logged as `<split>/<name>`.

        Returns its `outputs`, and the `predictions` that metrics got of them.
        """
        loss, outputs = self.checked_loss(self.prepare(batch), None)
        predictions = self.predictions(tree_map(upcast_float16, outputs))
        if not self.has_tried_loss and self.trainer.state.fn == TrainerFn.FITTING:
            self.try_loss(batch)
        size = self.batch_size(batch)
        # once for each sample: with nan_strategy="disable" torchmetrics 1.9 ignores a weight
        self.losses[split].update(loss.expand(size))  # type: ignore[operator]
        if len(self.metrics[split]):  # type: ignore[arg-type]
            self.metrics[split].update(predictions, self.targets(batch))  # type: ignore[operator]
        return {"outputs": outputs, "predictions": predictions}

    def try_loss(self, batch: Batch) -> None:
        """Logs, for the end of the first validation, whether the loss is a sum over its batch."""
        buffers = {name: buffer.clone() for name, buffer in self.named_buffers()}
        devices = [self.device] if self.device.type == "cuda" else []
        with torch.random.fork_rng(devices):
            ratio = doubled_ratio(lambda few: self.compute_loss(self.prepare(few), None)[0], batch)
        for name, buffer in self.named_buffers():
            if not torch.equal(buffer, buffers[name]):
                buffer.copy_(buffers[name])
        self.log("loss_ratio", ratio, logger=False, on_step=False, on_epoch=True, sync_dist=True)
        self.has_tried_loss = True

    # What is logged, and when

    def log(self, *args: Any, **kwargs: Any) -> None:
        self.require_no_loss_step("log")
        super().log(*args, **kwargs)

    def setup(self, stage: str) -> None:
        super().setup(stage)
        if stage == "fit":
            self.pending_batches = 0
            self.is_first_block = True

    def on_train_batch_end(self, *_: Any) -> None:
        if self.trainer.global_step == self.pending_batches == 0:
            raise ValueError(
                f"expected training_step of {type(self).__name__} to take an optimizer step, got "
                "none: return self.take_block(batch) in it, as optimization is manual here, or "
                "write loss_step in its place"
            )
        super().on_train_batch_end()

    def on_train_epoch_end(self) -> None:
        super().on_train_epoch_end()
        if not self.trainer.enable_validation:
            step_by_metric(self.trainer, self.schedule_metric)

    def on_validation_epoch_end(self) -> None:
        super().on_validation_epoch_end()
        self.log_metrics("val")
        read_logged(self.trainer)
        require_mean(float(self.trainer.callback_metrics.get("loss_ratio", 1)))
        if self.trainer.state.fn == TrainerFn.FITTING and not self.trainer.sanity_checking:
            step_by_metric(self.trainer, self.schedule_metric)

    def on_test_epoch_end(self) -> None:
        self.log_metrics("test")
        read_logged(self.trainer)

    def log_metrics(self, split: str) -> None:
        """Logs what an evaluation has measured, `<split>/<name>`, and how many samples it saw."""
        metrics: MetricCollection = self.metrics[split]  # type: ignore[assignment]
        loss: Any = self.losses[split]
        if not loss.update_called:  # a step of its own measures and logs in its own way
            return
        values = {"loss": loss.compute()} | metrics.compute()
        samples: Any = loss.weight  # as many as this process looked at
        loss.reset()
        metrics.reset()
        # What is measured outside of fit, of the best weights, is no point of a run's curve.
        fitting = self.trainer.state.fn == TrainerFn.FITTING
        shown = None if fitting or not self.trainer.loggers else False
        for name, value in values.items():
            if value.numel() != 1:
                raise ValueError(
                    f"expected the metric {name} to compute one number, got {value.numel()}: of "
                    "several classes or outputs its average is one (average: macro)"
                )
            self.log(f"{split}/{name}", value, logger=shown, sync_dist=True)
        self.log(f"{split}/samples", samples, logger=False, reduce_fx="sum", sync_dist=True)
        if fitting:
            self.log_step()


def upcast_float16(outputs: Any) -> Any:
    """As float32, so that what is measured of 16-bit outputs is not rounded any further."""
    is_small = isinstance(outputs, Tensor) and outputs.is_floating_point()
    return outputs.float() if is_small and outputs.element_size() < 4 else outputs


def require_network(module: L.LightningModule) -> Module:
    """The module, if it is one of a network and a loss; raises ValueError if not."""
    if not isinstance(module, Module) or module.network is None or module.loss is None:
        raise ValueError(
            f"expected a runlab.Module of a network and a loss, got a {type(module).__name__}"
        )
    return module
