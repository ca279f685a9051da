"""StepRequest: a run asks its stack for the steps of its next block."""

from collections.abc import Callable, Hashable, Iterable
from functools import cached_property
from typing import Any, NamedTuple

import lightning as L
import torch
from jaxtyping import Float, Num
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from runlab.blocks.lazy_batch import step_of
from runlab.module import Module
from runlab.stacks.attributes import data_key, module_key, surroundings


class Member(NamedTuple):
    """What a stack has to know of a run.

    Attributes:
        prepare_inputs: makes the network's input of a batch's inputs.
        make_optimizer: makes another optimizer of the same class and settings.
        gradient_clip: largest norm of the whole gradient.
    """

    prepare_inputs: Callable[[Tensor], Tensor]
    network: nn.Module
    loss: nn.Module
    optimizer: Optimizer
    make_optimizer: Callable[[Iterable[Any]], Optimizer]
    gradient_clip: float | None

    @property
    def trained(self) -> dict[str, nn.Parameter]:
        """The parameters that training changes, by name."""
        return {name: p for name, p in self.network.named_parameters() if p.requires_grad}

    @property
    def fixed(self) -> dict[str, Tensor]:
        """`network.*`: its buffers and frozen parameters; `loss.*`: all of the loss's tensors."""
        frozen = {name: p for name, p in self.network.named_parameters() if not p.requires_grad}
        of_network = frozen | dict(self.network.named_buffers())
        of_loss = dict(self.loss.named_parameters()) | dict(self.loss.named_buffers())
        return {
            f"{part}.{name}": tensor
            for part, tensors in (("network", of_network), ("loss", of_loss))
            for name, tensor in tensors.items()
        }


class StepResult(NamedTuple):
    """Each step's loss, and the outputs on the last batch, before the step on it."""

    losses: Float[Tensor, " steps"]
    outputs: Float[Tensor, "batch ..."]


class StepRequest:
    """The steps of one run's next block and, once they are taken, their result.

    Attributes:
        result: None if the run has to take the steps itself.
        error: what computing them raised.
        runs: with how many runs they were computed, this one included.
    """

    def __init__(
        self,
        module: Module,
        inputs: Num[Tensor, "steps batch ..."],
        targets: Num[Tensor, "steps batch ..."],
    ) -> None:
        self.module, self.inputs, self.targets = module, inputs, targets
        self.result: StepResult | None = None
        self.error: Exception | None = None
        self.runs = 1

    def batch(self, step: int) -> tuple[Num[Tensor, "batch ..."], Num[Tensor, "batch ..."]]:
        """The inputs and targets of one step."""
        return step_of(self.inputs, step), self.targets[step]

    @property
    def config(self) -> dict[str, Any]:
        return dict(self.module.hparams.get("config", {}))

    @property
    def threads(self) -> int:
        """Of an operation on the CPU."""
        return self.config.get("threads", 1)

    @property
    def trainer(self) -> L.Trainer:
        return self.module.trainer

    @property
    def data(self) -> Any:
        """The data module."""
        return self.trainer.datamodule  # type: ignore[attr-defined]

    @property
    def member(self) -> Member:
        module = self.module
        wrapped: Any = module.optimizers()  # Lightning's wrapper
        return Member(
            module.prepare_inputs,
            module.network,
            module.loss,
            wrapped.optimizer,
            module.optimizer_factory,
            module.gradient_clip,
        )

    @property
    def scheduler(self) -> LRScheduler | None:
        return self.module.lr_schedulers()  # type: ignore[return-value]

    def structure_key(self) -> tuple[Any, ...]:
        """Equal for runs of the same components, but for their seeds and learning rates."""
        config = self.config
        optimizer = {**config.get("optimizer", {}), "lr": None}
        data = {**config.get("data", {}), "seed": None}
        keys = ("module", "model", "loss", "threads")
        parts = [data, self.module.gradient_clip, *(config.get(key) for key in keys)]
        shapes = [(name, p.shape, p.dtype) for name, p in self.member.network.state_dict().items()]
        return repr(optimizer), repr(parts), repr(shapes), type(self.trainer.precision_plugin)

    @cached_property
    def operations_key(self) -> tuple[Hashable, ...]:
        """Equal for requests of one structure whose steps are the same operations.

        Raises:
            OpaqueError: where that cannot be seen.
        """
        inputs, member = self.inputs, self.member
        settings = (
            module_key("network", member.network),
            module_key("loss", member.loss),
            data_key(self.data) if inputs.dtype == torch.uint8 else None,
        )
        return inputs.shape[1:], inputs.dtype, inputs.device, tuple(member.trained), settings

    @cached_property
    def surroundings_key(self) -> Hashable:
        """Equal as long as what its classes and their modules hold is: callbacks may change it."""
        return tuple(sorted(surroundings(self.module).items()))

    def sync_key(self) -> tuple[Any, ...]:
        """Equal for requests of one structure and operations that are equally far."""
        member = self.member
        [group] = member.optimizer.param_groups
        # not what a schedule keeps there: its own learning rates
        settings = {key: group[key] for key in member.optimizer.defaults if key != "lr"}
        states = [sorted(member.optimizer.state.get(p, {})) for p in member.trained.values()]
        # Adam's correction depends on the number of steps before
        return len(self.targets), self.trainer.global_step, repr(settings), repr(states)

    def count_steps(self) -> None:
        """Tells Lightning of optimizer steps that it did not see."""
        progress = self.trainer.fit_loop.epoch_loop.manual_optimization.optim_step_progress
        for each in (progress.total, progress.current):
            each.increment_by(len(self.targets))
