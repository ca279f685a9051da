"""StepRequest: a run asks its stack for the steps of its next block."""

from collections.abc import Hashable
from functools import cached_property
from typing import Any, NamedTuple

import lightning as L
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from runlab.blocks.block import Block
from runlab.blocks.random import augments
from runlab.module import Module
from runlab.schedules import schedules_due
from runlab.stacks.accumulation import Accumulation
from runlab.stacks.attributes import (
    Settings,
    data_key,
    is_part_of_step,
    module_key,
    surroundings,
)
from runlab.stacks.nest import Form, Nest, take_apart

PLAIN = take_apart(((torch.empty(0), torch.empty(0)), None), "its batch").form
"""Of a step's inputs and targets, where nothing is drawn."""


class Member(NamedTuple):
    """What a stack has to know of a run: its whole module, network and loss and all else.

    Attributes:
        gradient_clip: largest norm of the whole gradient.
    """

    module: Module
    optimizer: Optimizer
    gradient_clip: float | None

    @property
    def parameters(self) -> dict[str, nn.Parameter]:
        return {k: p for k, p in self.module.named_parameters() if is_part_of_step(k)}

    @property
    def trained(self) -> dict[str, nn.Parameter]:
        """The parameters that training changes, by name."""
        return {name: p for name, p in self.parameters.items() if p.requires_grad}

    @property
    def frozen(self) -> dict[str, nn.Parameter]:
        return {name: p for name, p in self.parameters.items() if not p.requires_grad}

    @property
    def buffers(self) -> dict[str, Tensor]:
        return {name: b for name, b in self.module.named_buffers() if is_part_of_step(name)}

    @property
    def held_gradients(self) -> dict[str, Tensor]:
        """Of the trained parameters; zero for one that no batch has reached."""
        return {
            name: torch.zeros_like(p) if p.grad is None else p.grad
            for name, p in self.trained.items()
        }

    @property
    def groups(self) -> dict[str, int]:
        """Which of the optimizer's groups each trained parameter is in."""
        groups = enumerate(self.optimizer.param_groups)
        number = {id(p): i for i, group in groups for p in group["params"]}
        return {name: number[id(p)] for name, p in self.trained.items()}


class StepResult(NamedTuple):
    """Each step's loss, and the outputs on the last batch, before the step on it."""

    losses: Float[Tensor, " steps"]
    outputs: Any


class StepRequest:
    """The steps of one run's next block and, once they are taken, their result.

    Attributes:
        batches: a `Block`, or one ordinary batch.
        result: None if the run has to take the steps itself.
        error: what computing them raised.
        runs: with how many runs they were computed, this one included.
    """

    def __init__(self, module: Module, batches: Any) -> None:
        self.module, self.batches = module, batches
        self.result: StepResult | None = None
        self.error: Exception | None = None
        self.runs = 1

    @property
    def steps(self) -> int:
        return self.batches.steps if isinstance(self.batches, Block) else 1

    @property
    def is_plain(self) -> bool:
        """Whether a step's batch is what lies in the block: nothing is drawn, nothing augmented."""
        return isinstance(self.batches, Block) and not self.module.draws_before_steps

    @property
    def augments(self) -> bool:
        return augments(self.data)

    def step_batch(self, step: int, module: Module) -> tuple[Any, Any]:
        """A step's batch and what is drawn for it, by the run's module or by a copy of it."""
        with torch.no_grad(), self.trainer.precision_plugin.forward_context():
            return module.step_batch(self.batches, step)

    def nest(self, step: int, module: Module | None = None) -> Nest:
        """The same, taken apart."""
        batch, drawn = self.step_batch(step, self.module if module is None else module)
        take_apart(drawn, "what its `draw` returns")
        return take_apart((batch, drawn), "its batch")

    @cached_property
    def first_nest(self) -> Nest:
        return self.nest(0)

    @cached_property
    def device(self) -> torch.device:
        if isinstance(self.batches, Block):
            return self.batches.inputs.device
        return self.first_nest.tensors[0].device

    @property
    def config(self) -> dict[str, Any]:
        return dict(self.module.hparams.get("config", {}))

    @property
    def rate(self) -> str | None:
        """The module's own attribute that is a learning rate: `lr`, if runs differ in module.lr."""
        compared = self.config.get("comparison") or {}
        group, _, name = str(compared.get("rate")).partition(".")
        is_own = group == "module" and not hasattr(type(self.module), name)
        return name if is_own else None

    @property
    def threads(self) -> int:
        """Of an operation on the CPU."""
        return self.config.get("threads", 1)

    @property
    def trainer(self) -> L.Trainer:
        return self.module.trainer

    @property
    def data(self) -> Any:
        """The data module, or None."""
        return getattr(self.trainer, "datamodule", None)

    @property
    def member(self) -> Member:
        module = self.module
        wrapped: Any = module.optimizers()  # Lightning's wrapper
        if isinstance(wrapped, list):
            raise ValueError(f"it has {len(wrapped)} optimizers")
        return Member(module, wrapped.optimizer, module.gradient_clip)

    @property
    def scheduler(self) -> LRScheduler | None:
        found: Any = self.module.lr_schedulers()
        if isinstance(found, list):
            raise ValueError(f"it has {len(found)} schedules")
        return found

    @cached_property  # before the steps are taken
    def accumulation(self) -> Accumulation:
        together, waiting = self.module.accumulate_grad_batches, self.module.pending_batches
        ends = [(waiting + number) % together == 0 for number in range(1, self.steps + 1)]
        ends[-1] = ends[-1] or self.trainer.is_last_batch  # which does not wait for others
        return Accumulation(together, waiting, ends)

    @property
    def due(self) -> list[bool]:
        """After which of the batches the schedule steps."""
        step, last = self.trainer.global_step, self.steps - 1
        due = []
        for number, is_end in enumerate(self.accumulation.ends):
            step += is_end
            is_last = number == last and self.trainer.is_last_batch
            due.append(is_end and bool(schedules_due(self.trainer, step, is_last)))
        return due

    def structure_key(self) -> tuple[Any, ...]:
        """Equal for runs of the same components, but for their seeds and learning rates."""
        config, member = self.config, self.member
        optimizer = {**config.get("optimizer", {}), "lr": None}
        data = {**config.get("data", {}), "seed": None}
        module = {**(config.get("module") or {}), self.rate: None}
        parts = [data, module, *(config.get(key) for key in ("model", "loss", "threads"))]
        tensors = [*member.parameters.items(), *member.buffers.items()]
        shapes = [(name, each.shape, each.dtype) for name, each in tensors]
        kinds = type(self.trainer.precision_plugin), type(member.optimizer), member.gradient_clip
        together = self.module.accumulate_grad_batches
        return repr(optimizer), repr(parts), repr(shapes), kinds, together

    @cached_property
    def operations_key(self) -> Settings:
        """Equal for requests of one structure whose steps are the same operations.

        Raises:
            OpaqueError: where that cannot be seen.
        """
        member = self.member
        normalizes = any(dtype == torch.uint8 for _, dtype, _ in self.tensors_key)
        data = data_key(self.data) if normalizes or self.augments else ()
        return (
            ("its batches", (self.tensors_key, self.form.key)),
            ("which of its parameters train", (tuple(member.groups.items()), tuple(member.frozen))),
            *module_key(self.module, self.rate),
            *data,
        )

    @cached_property
    def tensors_key(self) -> tuple[tuple[torch.Size, torch.dtype, torch.device], ...]:
        """Of each tensor of a step."""
        if self.is_plain:  # without a look at the samples
            shapes = [(each.shape[1:], each) for each in self.batches]
        else:
            shapes = [(each.shape, each) for each in self.first_nest.tensors]
        return tuple((shape, each.dtype, each.device) for shape, each in shapes)

    @property
    def form(self) -> Form:
        return PLAIN if self.is_plain else self.first_nest.form

    @cached_property
    def surroundings_key(self) -> Hashable:
        """Equal as long as what its classes and their modules hold is: callbacks may change it."""
        return tuple(sorted(surroundings(self.module).items()))

    def sync_key(self) -> tuple[Any, ...]:
        """Equal for requests of one structure and operations that are equally far."""
        member = self.member
        # not what a schedule keeps there: its own learning rates
        keys = [key for key in member.optimizer.defaults if key != "lr"]
        settings = [{key: group[key] for key in keys} for group in member.optimizer.param_groups]
        states = [sorted(member.optimizer.state.get(p, {})) for p in member.trained.values()]
        # Adam's correction depends on the number of steps before
        progress = self.steps, self.trainer.global_step, self.module.pending_batches
        return *progress, repr(settings), repr(states)

    def count_steps(self) -> None:
        """Tells Lightning and the module of optimizer steps that they did not see."""
        progress = self.trainer.fit_loop.epoch_loop.manual_optimization.optim_step_progress
        for each in (progress.total, progress.current):
            each.increment_by(sum(self.accumulation.ends))
        self.module.pending_batches = self.accumulation.left
