"""Stack: the parameters of several runs in one tensor each, stepped at once."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Float, Num
from torch import Tensor
from torch.func import functional_call, grad_and_value
from torch.optim import SGD, Optimizer

from runlab.blocks.lazy_batch import LazyBatch, step_of
from runlab.blocks.loader import upload
from runlab.stacks.step_request import Member, StepResult
from runlab.stacks.trace import Gradients, Operations, Tensors


class Stack:
    """Several runs whose parameters lie in one tensor each, [runs, ...], and are stepped at once.

    They are copies: the runs are as they were until `write_back` writes them back.

    It takes any optimizer whose update is linear in the learning rate: the optimizer steps at
    learning rate 1, and each run moves by that update times its own learning rate.

    Attributes:
        operations: compute gradients and steps; may be replaced by traced ones of the same result.
    """

    def __init__(self, members: Sequence[Member]) -> None:
        self.members = members
        self.operations = Operations(gradients_of(members[0]))
        self.fixed = stack_tensors([member.fixed for member in members])
        self.parameters = stack_tensors([member.trained for member in members])
        self.optimizer = self.build_optimizer()
        self.is_plain_sgd = is_plain_sgd(self.optimizer)

    def build_optimizer(self) -> Optimizer:
        """One for the whole stack, with the runs' states and settings, but learning rate 1."""
        first = self.members[0]
        optimizer = first.make_optimizer(self.parameters.values())
        [group], [own] = optimizer.param_groups, first.optimizer.param_groups
        group.update({key: own[key] for key in group if key not in ("params", "lr")} | {"lr": 1.0})
        for name, parameter in self.parameters.items():
            states = [m.optimizer.state.get(m.trained[name], {}) for m in self.members]
            if states[0]:
                optimizer.state[parameter] = stack_states(states, parameter.shape[1:])
        return optimizer

    def take_steps(
        self,
        inputs: Sequence[Num[Tensor, "steps batch ..."]],
        targets: Sequence[Num[Tensor, "steps batch ..."]],
        learning_rates: Float[Tensor, "runs steps"],
        check: Callable[[], None] = lambda: None,
    ) -> list[StepResult]:
        """Takes all the steps of a block of each run; `check` is called before each step."""
        dtype = next(iter(self.parameters.values())).dtype
        learning_rates = upload(learning_rates.to(dtype), inputs[0].device)
        # [steps, runs]; compilers mind strides
        by_step = learning_rates.t().clone(memory_format=torch.contiguous_format)
        batches = StackedBatches(inputs)
        truth = torch.stack([*targets], dim=1)  # [steps, runs, batch, ...]
        descend = self.operations.descend if self.only_descends else None
        last, losses = len(truth) - 1, []
        for step, of_step in enumerate(by_step):
            check()
            arguments = self.parameters, self.fixed, batches[step], truth[step]
            if descend is not None and step < last:
                loss, outputs = descend(*arguments, of_step)
            else:  # the last step's gradients are to be seen
                self.gradients, (loss, outputs) = self.operations.gradients(*arguments)
                self.optimizer_step(of_step)
            losses.append(loss.clone())
        by_run = torch.stack(losses, dim=1)  # [runs, steps]
        return [StepResult(*each) for each in zip(by_run, outputs.clone(), strict=True)]

    @property
    def only_descends(self) -> bool:
        """Whether a step is gradient descent and no more."""
        return self.is_plain_sgd and self.members[0].gradient_clip is None

    @torch.no_grad()
    def optimizer_step(self, learning_rates: Float[Tensor, " runs"]) -> None:
        """One step of each run's optimizer, at its own learning rate, along `gradients`."""
        if (largest := self.members[0].gradient_clip) is not None:
            clip_gradients(self.gradients, largest)
        if self.is_plain_sgd:  # a third of the memory traffic
            for name, parameter in self.parameters.items():
                expanded = expand_as(learning_rates, parameter)
                parameter.addcmul_(self.gradients[name], expanded, value=-1)
            return
        before = {name: parameter.clone() for name, parameter in self.parameters.items()}
        for name, parameter in self.parameters.items():
            parameter.grad = self.gradients[name]
        self.optimizer.step()
        for name, parameter in self.parameters.items():
            expanded = expand_as(learning_rates, parameter)
            torch.lerp(before[name], parameter, expanded, out=parameter)

    def write_back(self) -> None:
        """Leaves the runs as their steps alone would have left them."""
        for index, member in enumerate(self.members):
            for name, parameter in member.trained.items():
                whole = self.parameters[name]
                parameter.data.copy_(whole.detach()[index])
                parameter.grad = self.gradients[name][index].clone()
                if state := self.optimizer.state.get(whole):
                    member.optimizer.state[parameter] = {
                        key: state_of_run(value, whole, index) for key, value in state.items()
                    }


class StackedBatches:
    """Each step's batches of all runs, [runs, batch, ...]; all steps use the same memory.

    Where each run has a `LazyBatch` of the same data set, one operation gathers all of them.
    """

    def __init__(self, inputs: Sequence[Num[Tensor, "steps batch ..."]]) -> None:
        self.inputs, first = inputs, inputs[0]
        size = len(inputs), *first.shape[1:]
        self.batch = torch.empty(size, dtype=first.dtype, device=first.device)
        lazy = [e for e in inputs if isinstance(e, LazyBatch) and not e.is_materialized]
        sources = {memory_of(each.source) for each in lazy}
        self.indices: Tensor | None = None
        if len(lazy) == len(inputs) and len(sources) == 1:
            self.source = lazy[0].source
            by_step = torch.stack([each.indices for each in lazy], dim=1)  # [steps, runs, batch]
            self.indices = by_step.flatten(1)

    def __getitem__(self, step: int) -> Num[Tensor, "runs batch ..."]:
        if self.indices is not None:
            flat = self.batch.flatten(0, 1)
            torch.index_select(self.source, 0, self.indices[step], out=flat)
        else:
            torch.stack([step_of(each, step) for each in self.inputs], out=self.batch)
        return self.batch


def memory_of(tensor: Tensor) -> tuple[Any, ...]:
    """Where its values lie in memory; equal for two views of the same values."""
    return tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype


def gradients_of(member: Member) -> Gradients:
    """For runs like this one; random draws differ from run to run."""

    def loss_and_outputs(
        parameters: Tensors, fixed: Tensors, inputs: Tensor, targets: Tensor
    ) -> tuple[Tensor, Tensor]:
        prepared = member.prepare_inputs(inputs)
        of_network, of_loss = (with_prefix(part, fixed) for part in ("network.", "loss."))
        outputs = functional_call(member.network, (parameters, of_network), (prepared,))
        return functional_call(member.loss, of_loss, (outputs, targets)), outputs

    return torch.vmap(grad_and_value(loss_and_outputs, has_aux=True), randomness="different")


def with_prefix(prefix: str, tensors: Tensors) -> Tensors:
    """The tensors whose names begin with the prefix, by names without it."""
    return {k.removeprefix(prefix): each for k, each in tensors.items() if k.startswith(prefix)}


def stack_tensors(each: Sequence[Any]) -> Tensors:
    with torch.no_grad():
        return {name: torch.stack([named[name] for named in each]) for name in each[0]}


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
    [group] = optimizer.param_groups
    extras = ("momentum", "weight_decay", "maximize")
    return type(optimizer) is SGD and not any(group[key] for key in extras)


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
