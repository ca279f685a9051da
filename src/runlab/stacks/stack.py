from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Float, Int, Num
from torch import Tensor
from torch.func import functional_call, grad_and_value
from torch.optim import SGD, Optimizer

from runlab.stacks.batches import Batches
from runlab.stacks.member import Member
from runlab.stacks.step_request import Taken
from runlab.stacks.trace import Gradients, Named, Operations


class Stack:
    """Several runs whose parameters lie in one tensor each, [runs, ...], and are stepped at once.

    They are copies: the runs are as they were until `publish` writes them back.

    Any optimizer will do whose update is linear in the learning rate: it steps at rate 1, and each
    run goes that part of the way which its own rate says.

    Attributes:
        operations: may be replaced by what computes the same.
    """

    def __init__(self, members: Sequence[Member]) -> None:
        self.members = members
        self.operations = Operations(gradients_of(members[0]))
        self.fixed = stacked([member.fixed for member in members])
        self.parameters = stacked([member.trained for member in members])
        self.optimizer = self.adopted()
        self.plain = is_plain(self.optimizer)

    def adopted(self) -> Optimizer:
        """An optimizer of the whole stack, with the runs' settings but for the rate, and states."""
        first = self.members[0]
        optimizer = first.make(self.parameters.values())  # type: ignore[arg-type]
        [group], [own] = optimizer.param_groups, first.optimizer.param_groups
        group.update({key: own[key] for key in group if key not in ("params", "lr")} | {"lr": 1.0})
        for name, parameter in self.parameters.items():
            states = [m.optimizer.state.get(m.trained[name], {}) for m in self.members]
            if states[0]:
                optimizer.state[parameter] = joined(states, parameter.shape[1:])
        return optimizer

    def take(
        self,
        images: Sequence[Num[Tensor, "steps batch ..."]],
        labels: Sequence[Int[Tensor, "steps batch"]],
        rates: Float[Tensor, "runs steps"],
        check: Callable[[], None] = lambda: None,
    ) -> list[Taken]:
        """Takes all the steps; `check` is called before each. `publish` ends it."""
        rates = rates.to(images[0].device, next(iter(self.parameters.values())).dtype)
        batches = Batches(images)
        truth = torch.stack([*labels], dim=1)  # [steps, runs, batch]
        by_step = rates.t().clone(memory_format=torch.contiguous_format)  # compilers mind strides
        descend = self.operations.descend if self.descends else None
        last, losses = len(truth) - 1, []
        for step, step_rates in enumerate(by_step):
            check()
            inputs = self.parameters, self.fixed, batches[step], truth[step]
            if descend is not None and step < last:
                loss, outputs = descend(*inputs, step_rates)
            else:  # the last step's gradients are to be seen
                self.last, (loss, outputs) = self.operations.gradients(*inputs)
                self.update(step_rates)
            losses.append(loss.clone())
        by_run = torch.stack(losses, dim=1)  # [runs, steps]
        return [Taken(*each) for each in zip(by_run, outputs.clone(), strict=True)]

    @property
    def descends(self) -> bool:
        """Whether a step is gradient descent and no more."""
        return self.plain and self.members[0].clip is None

    @torch.no_grad()
    def update(self, rates: Float[Tensor, " runs"]) -> None:
        if (largest := self.members[0].clip) is not None:
            clip(self.last, largest)
        if self.plain:  # a third of the memory traffic
            for name, parameter in self.parameters.items():
                parameter.addcmul_(self.last[name], spread(rates, parameter), value=-1)
            return
        before = {name: parameter.clone() for name, parameter in self.parameters.items()}
        for name, parameter in self.parameters.items():
            parameter.grad = self.last[name]
        self.optimizer.step()
        for name, parameter in self.parameters.items():
            torch.lerp(before[name], parameter, spread(rates, parameter), out=parameter)

    def publish(self) -> None:
        """Leaves the runs as their steps alone would have left them."""
        for index, member in enumerate(self.members):
            for name, parameter in member.trained.items():
                whole = self.parameters[name]
                parameter.data.copy_(whole.detach()[index])
                parameter.grad = self.last[name][index].clone()
                if state := self.optimizer.state.get(whole):
                    member.optimizer.state[parameter] = {
                        key: share(value, whole, index) for key, value in state.items()
                    }


def gradients_of(member: Member) -> Gradients:
    """For runs like this one; random draws differ from run to run."""

    def loss_and_outputs(
        parameters: Named, fixed: Named, images: Tensor, labels: Tensor
    ) -> tuple[Tensor, Tensor]:
        inputs = member.prepared(images)
        others, of_loss = (beginning_with(part, fixed) for part in ("network.", "loss."))
        outputs = functional_call(member.network, (parameters, others), (inputs,))
        return functional_call(member.loss, of_loss, (outputs, labels)), outputs

    return torch.vmap(grad_and_value(loss_and_outputs, has_aux=True), randomness="different")


def beginning_with(prefix: str, tensors: Named) -> Named:
    """Those, by names without it."""
    return {k.removeprefix(prefix): each for k, each in tensors.items() if k.startswith(prefix)}


def stacked(each: Sequence[Any]) -> Named:
    with torch.no_grad():
        return {name: torch.stack([named[name] for named in each]) for name in each[0]}


def joined(states: Sequence[dict[str, Any]], shape: torch.Size) -> dict[str, Any]:
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


def share(value: Any, whole: Tensor, index: int) -> Any:
    """One run's part of the stack's optimizer state for a parameter."""
    if not isinstance(value, Tensor):
        return value
    return value[index].clone() if value.shape == whole.shape else value.clone()


def is_plain(optimizer: Optimizer) -> bool:
    """Whether a step adds −rate·gradient and that is all."""
    [group] = optimizer.param_groups
    extras = ("momentum", "weight_decay", "maximize")
    return type(optimizer) is SGD and not any(group[key] for key in extras)


def spread(rates: Float[Tensor, " runs"], parameter: Tensor) -> Tensor:
    """Rates [runs, 1, ...] that multiply a tensor [runs, ...]."""
    return rates.view(-1, *[1] * (parameter.ndim - 1))


def clip(gradients: Named, largest: float) -> None:
    """Scales each run's gradients as `torch.nn.utils.clip_grad_norm_` does."""
    norms = [gradient.flatten(1).norm(dim=1) for gradient in map(at_least_2d, gradients.values())]
    factors = (largest / (torch.stack(norms).norm(dim=0) + 1e-6)).clamp(max=1.0)  # [runs]
    for gradient in gradients.values():
        gradient.mul_(spread(factors, gradient))


def at_least_2d(tensor: Tensor) -> Tensor:
    return tensor if tensor.ndim > 1 else tensor.unsqueeze(1)
