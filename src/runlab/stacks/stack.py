"""Stack: the parameters of several runs in one tensor each, stepped at once."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value
from torch.optim import SGD, Optimizer
from torch.utils._pytree import tree_map

from runlab.blocks.loader import upload
from runlab.module import Module
from runlab.stacks.accumulation import Accumulation, accumulate, each_steps
from runlab.stacks.alone import copy_optimizer
from runlab.stacks.batches import Batches
from runlab.stacks.nest import Nest
from runlab.stacks.step_request import Member, StepResult
from runlab.stacks.trace import Gradients, Operations, Results, Tensors


class Stack:
    """Several runs whose parameters lie in one tensor each, [runs, ...], and are stepped at once.

    They are copies: the runs are as they were until `write_back` writes them back. So are their
    buffers, such as running statistics, which a step may change.

    It takes any optimizer whose update is linear in the learning rate: the optimizer steps at
    learning rate 1, and each run moves by that update times its own learning rate.

    Attributes:
        groups: the number of the optimizer's group that each parameter is in.
        operations: compute gradients and steps; may be replaced by traced ones of the same result.
    """

    def __init__(self, members: Sequence[Member]) -> None:
        self.members, first = members, members[0]
        self.operations = Operations(gradients_of(first))
        self.fixed = stack_tensors([member.frozen for member in members])
        self.buffers = stack_tensors([member.buffers for member in members])
        self.parameters = stack_tensors([member.trained for member in members])
        self.groups = first.groups
        self.optimizer = self.build_optimizer()
        self.is_plain_sgd = is_plain_sgd(self.optimizer)

    @property
    def tensors(self) -> tuple[Tensors, Tensors, Tensors]:
        """The inputs of a step besides its batch."""
        return self.parameters, self.fixed, self.buffers

    def build_optimizer(self) -> Optimizer:
        """One for the whole stack, with the runs' states and settings, but learning rate 1."""
        first = self.members[0]
        pairs = {p: self.parameters[name] for name, p in first.trained.items()}
        optimizer = copy_optimizer(first.optimizer, pairs)
        for group in optimizer.param_groups:
            group["lr"] = 1.0
        for name, parameter in self.parameters.items():
            states = [m.optimizer.state.get(m.trained[name], {}) for m in self.members]
            if states[0]:
                optimizer.state[parameter] = stack_states(states, parameter.shape[1:])
        return optimizer

    def take_steps(
        self,
        batches: Batches,
        learning_rates: Float[Tensor, "runs steps groups"],
        check: Callable[[], None] = lambda: None,
        accumulation: Accumulation | None = None,
    ) -> list[StepResult]:
        """Takes all the steps of a block of each run; `check` is called before each step.

        Args:
            learning_rates: of each batch; of those that share an optimizer step the last one's.
            accumulation: by default each batch has an optimizer step of its own.
        """
        first = next(iter(self.parameters.values()))
        learning_rates = upload(learning_rates.to(first.dtype), first.device)
        # [steps, groups, runs]; compilers mind strides
        by_step = learning_rates.permute(1, 2, 0).clone(memory_format=torch.contiguous_format)
        descend = self.operations.descend if self.only_descends else None
        last, losses = len(by_step) - 1, []
        together, waiting, ends = accumulation or each_steps(len(by_step))
        held = self.held_gradients() if waiting else {}
        for step, of_step in enumerate(by_step):
            check()
            if descend is not None and step < last:
                results = descend(*self.tensors, batches(step), of_step)
            else:  # the last step's gradients are to be seen
                found, results = self.operations.gradients(*self.tensors, batches(step))
                self.gradients = held = accumulate(held, found, together)
                if ends[step]:
                    self.optimizer_step(of_step)
                    held = {}
            losses.append(results.losses.clone())
            self.keep(results.buffers)
        by_run = torch.stack(losses, dim=1)  # [runs, steps]
        outputs = tree_map(torch.clone, results.outputs)
        return [StepResult(each, of_run(outputs, run)) for run, each in enumerate(by_run)]

    @property
    def only_descends(self) -> bool:
        """Whether a step is gradient descent and no more."""
        first = self.members[0]
        accumulates = first.module.accumulate_grad_batches > 1
        return self.is_plain_sgd and first.gradient_clip is None and not accumulates

    def held_gradients(self) -> Tensors:
        """Those that wait in the runs' parameters."""
        return stack_tensors([member.held_gradients for member in self.members])

    @torch.no_grad()
    def keep(self, buffers: Tensors) -> None:
        """As the next step finds them."""
        if buffers:
            torch._foreach_copy_([*self.buffers.values()], [buffers[name] for name in self.buffers])

    @torch.no_grad()
    def optimizer_step(self, learning_rates: Float[Tensor, "groups runs"]) -> None:
        """One step of each run's optimizer, at its own learning rates, along `gradients`."""
        if (largest := self.members[0].gradient_clip) is not None:
            clip_gradients(self.gradients, largest)
        if self.is_plain_sgd:  # a third of the memory traffic
            for name, parameter in self.parameters.items():
                expanded = expand_as(learning_rates[self.groups[name]], parameter)
                parameter.addcmul_(self.gradients[name], expanded, value=-1)
            return
        before = {name: parameter.clone() for name, parameter in self.parameters.items()}
        for name, parameter in self.parameters.items():
            parameter.grad = self.gradients[name]
        self.optimizer.step()
        for name, parameter in self.parameters.items():
            expanded = expand_as(learning_rates[self.groups[name]], parameter)
            torch.lerp(before[name], parameter, expanded, out=parameter)

    def write_back(self) -> None:
        """Leaves the runs as their steps alone would have left them."""
        for index, member in enumerate(self.members):
            for name, buffer in member.buffers.items():
                buffer.data.copy_(self.buffers[name][index])
            for name, parameter in member.trained.items():
                whole = self.parameters[name]
                parameter.data.copy_(whole.detach()[index])
                parameter.grad = self.gradients[name][index].clone()
                if state := self.optimizer.state.get(whole):
                    member.optimizer.state[parameter] = {
                        key: state_of_run(value, whole, index) for key, value in state.items()
                    }


class LossStep(nn.Module):
    """What is computed in a step of a module: `functional_call` replaces the module's tensors."""

    def __init__(self, module: Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, batch: Any, drawn: Any) -> tuple[Tensor, Any]:
        return self.module.compute_loss(self.module.prepare(batch), drawn)


def gradients_of(member: Member) -> Gradients:
    """For runs like this one; random draws differ from run to run."""

    def gradients(
        parameters: Tensors, fixed: Tensors, buffers: Tensors, nest: Nest
    ) -> tuple[Tensors, Results]:
        def loss_of(
            parameters: Tensors, fixed: Tensors, buffers: Tensors, tensors: Sequence[Tensor]
        ) -> tuple[Tensor, tuple[Any, Tensors]]:
            # a step may change buffers: its own, in place or by putting others there
            own = {name: buffer.clone() for name, buffer in buffers.items()}
            named = {f"module.{k}": each for k, each in (parameters | fixed | own).items()}
            batch_and_drawn = nest.form.fill(tensors)
            loss, outputs = functional_call(LossStep(member.module), named, batch_and_drawn)
            return loss, (outputs, {name: named[f"module.{name}"] for name in buffers})

        per_run = torch.vmap(grad_and_value(loss_of, has_aux=True), randomness="different")
        found, (losses, others) = per_run(parameters, fixed, buffers, [*nest.tensors])
        return found, Results(losses, *others)

    return gradients


def stack_tensors(each: Sequence[Any]) -> Tensors:
    with torch.no_grad():
        return {name: torch.stack([named[name] for named in each]) for name in each[0]}


def of_run(nest: Any, index: int) -> Any:
    return tree_map(lambda tensor: tensor[index], nest)


def stack_states(states: Sequence[dict[str, Any]], shape: torch.Size) -> dict[str, Any]:
    """The runs' optimizer states for one parameter as one; counters are the same in all.

    `step` is a counter even where the parameter has its shape, that of a single number.
    """
    state = {}
    for key, value in states[0].items():
        if not isinstance(value, Tensor):
            state[key] = value
        elif value.shape == shape and key != "step":
            state[key] = torch.stack([each[key] for each in states])
        else:
            state[key] = value.clone()
    return state


def state_of_run(value: Any, whole: Tensor, index: int) -> Any:
    """One run's part of the stack's optimizer state for a parameter."""
    if not isinstance(value, Tensor):
        return value
    return value[index].clone() if value.shape == whole.shape else value.clone()


def is_plain_sgd(optimizer: Optimizer) -> bool:
    """Whether a step adds −learning rate·gradient and that is all."""
    extras = ("momentum", "weight_decay", "maximize")
    used = [group.get(key) for group in optimizer.param_groups for key in extras]
    return type(optimizer) is SGD and not any(used)


def expand_as(learning_rates: Float[Tensor, " runs"], parameter: Tensor) -> Tensor:
    """[runs, 1, ...], to multiply a tensor [runs, ...]."""
    return learning_rates.view(-1, *[1] * (parameter.ndim - 1))


def clip_gradients(gradients: Tensors, largest: float) -> None:
    """Scales each run's gradients as `torch.nn.utils.clip_grad_norm_` does."""
    norms = [gradient.flatten(1).norm(dim=1) for gradient in map(at_least_2d, gradients.values())]
    factors = (largest / (torch.stack(norms).norm(dim=0) + 1e-6)).clamp(max=1.0)  # [runs]
    for gradient in gradients.values():
        gradient.mul_(expand_as(factors, gradient))


def at_least_2d(tensor: Tensor) -> Tensor:
    return tensor if tensor.ndim > 1 else tensor.unsqueeze(1)
