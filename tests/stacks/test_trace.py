"""A stack's step as bare operations: what vmap and autograd come to, and gradient descent."""

from collections import Counter

import pytest
import torch
from torch import Tensor, nn
from torch.optim import SGD
from torch.utils._python_dispatch import TorchDispatchMode

from losslab.losses import CrossEntropy
from losslab.models import CNN, MLP
from runlab.module import Module
from runlab.stacks.nest import Nest, take_apart
from runlab.stacks.stack import Stack
from runlab.stacks.step_request import Member
from runlab.stacks.trace import Operations, Results, TracedOperations, trace_operations

RATES = torch.tensor([[0.1, 0.02, 0.5]], dtype=torch.float64)  # [groups, runs]
aten = torch.ops.aten


class Network(nn.Module):
    """16 inputs, 4 classes."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(16, 8), nn.Linear(8, 4)

    def forward(self, images: Tensor) -> Tensor:
        return self.second(self.first(images.flatten(1)).relu())


class Product(Network):
    """A weight that is a product: each factor's gradient is a product with the other factor."""

    def forward(self, images: Tensor) -> Tensor:
        return images.flatten(1) @ (self.second.weight @ self.first.weight).T + self.second.bias


class Tied(Network):
    """A weight used twice: its gradient is a sum of products."""

    def forward(self, images: Tensor) -> Tensor:
        hidden = self.first(images.flatten(1))
        return self.second(self.first((hidden @ self.first.weight).relu()))


class Square(Network):
    """A gradient whose two factors may be one tensor."""

    def forward(self, images: Tensor) -> Tensor:
        root = self.second.weight
        return images.flatten(1)[:, :4] @ (root @ root.T) + self.second.bias


class Overwriting(Network):
    """Writes to what it has computed."""

    def forward(self, images: Tensor) -> Tensor:
        hidden = nn.functional.relu(self.first(images.flatten(1)), inplace=True)
        return self.second(hidden).mul_(2)


class Turning(Network):
    """Turns a view in place, which another was taken of before."""

    def forward(self, images: Tensor) -> Tensor:
        hidden = self.first(images.flatten(1))
        square = hidden[:6, :6].clone()
        upper = square.t().triu().sum()
        square.t_()
        return self.second((hidden + 0.1 * upper).relu()) + 0.2 * square.tril().sum()


class Conjugate(Network):
    """A view of the same memory that means something else."""

    def forward(self, images: Tensor) -> Tensor:
        waves = torch.fft.fft(images.flatten(1))
        return super().forward((waves + 0.5 * waves.conj()).imag + waves.imag)


class TwoPrecisions(Network):
    """A layer in single precision after one in double."""

    def __init__(self) -> None:
        super().__init__()
        self.third = nn.Linear(4, 4)

    def double(self) -> "TwoPrecisions":
        super().double()
        self.third.float()
        return self

    def forward(self, images: Tensor) -> Tensor:
        return self.third(super().forward(images).float())


class Scaled(Network):
    """A parameter that is a single number, and one that nothing comes of."""

    def __init__(self) -> None:
        super().__init__()
        self.scale, self.idle = nn.Parameter(torch.tensor(2.0)), nn.Parameter(torch.ones(3))

    def forward(self, images: Tensor) -> Tensor:
        return self.scale * super().forward(images)


class Averaging(Network):
    """Keeps a mean in place, another one in a new tensor at each step, and running statistics."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(8)
        self.register_buffer("mean", torch.zeros(8))
        self.register_buffer("other", torch.zeros(8))

    def forward(self, images: Tensor) -> Tensor:
        hidden = self.norm(self.first(images.flatten(1)))
        self.mean.mul_(0.9).add_(hidden.detach().pow(2).mean(dim=0))
        self.other = 0.9 * self.other + 0.1 * self.mean
        return self.second(hidden.relu() - self.mean)


def mlp() -> nn.Module:
    return MLP((1, 4, 4), 4, [8, 8], nn.ReLU())


def cnn() -> nn.Module:
    return CNN((1, 4, 4), 4, [4], groups=2)


def stack_of(make) -> Stack:
    members = []
    for seed in range(RATES.shape[1]):
        torch.manual_seed(seed)
        module = Module(make().double(), CrossEntropy())
        members.append(Member(module, SGD(module.parameters(), lr=0.1), None))
    return Stack(members)


def batch() -> Nest:
    torch.manual_seed(0)
    images = torch.rand(RATES.shape[1], 6, 1, 4, 4, dtype=torch.float64)
    return take_apart(((images, torch.randint(0, 4, (RATES.shape[1], 6))), None), "it")


def trace(stack: Stack, nest: Nest) -> TracedOperations:
    return trace_operations(stack.operations.gradients, *stack.tensors, nest, stack.groups)


@pytest.mark.parametrize(
    "make",
    [
        mlp,
        cnn,
        Product,
        Tied,
        Square,
        Overwriting,
        Turning,
        Conjugate,
        TwoPrecisions,
        Scaled,
        Averaging,
    ],
)
def test_they_come_to_gradients_and_to_a_step_down_them(make):
    stack, nest = stack_of(make), batch()
    before = {name: each.clone() for name, each in stack.parameters.items()}
    found = trace(stack, nest)
    torch.testing.assert_close(stack.parameters, before, rtol=0, atol=0)

    images, labels = nest.tensors
    other = nest.replace([images.flip(1) * 2, labels.flip(1)])
    expected, results = stack.operations.gradients(*stack.tensors, other)
    gradients, ours = found.gradients(*stack.tensors, other)
    torch.testing.assert_close(gradients, expected)
    torch.testing.assert_close(ours, results)

    ours = found.descend(*stack.tensors, other, RATES)
    torch.testing.assert_close(ours, results)
    for name, parameter in stack.parameters.items():
        rates = RATES[0].view(-1, *[1] * (parameter.ndim - 1))
        wanted = before[name] - (rates * expected[name]).to(parameter.dtype)
        torch.testing.assert_close(parameter, wanted, msg=name)


class Counted(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.calls: Counter[object] = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.calls[func] += 1
        return func(*args, **(kwargs or {}))


def test_a_step_needs_no_gradients_of_linear_layers_weights_and_fewer_operations():
    stack, nest = stack_of(mlp), batch()
    found, inputs = trace(stack, nest), (*stack.tensors, nest)
    with Counted() as untraced:
        stack.operations.gradients(*inputs)
    with Counted() as step:
        found.descend(*inputs, RATES)
    assert (step.calls[aten.baddbmm_.default], step.calls[aten.addcmul_.default]) == (3, 3)
    assert step.calls[aten.bmm.default] == untraced.calls[aten.bmm.default] - 3
    assert step.calls.total() < untraced.calls.total() * 2 / 3


def test_a_stack_takes_all_but_its_last_step_in_one():
    stack, nest = stack_of(mlp), batch()
    found = trace(stack, nest)
    stack.operations = Operations(found.gradients, found.descend)
    with Counted() as counted:
        stack.take_steps(lambda step: nest, RATES.view(3, 1, 1).expand(3, 4, 1))
    assert counted.calls[aten.baddbmm_.default] == 3 * 3
    assert stack.gradients.keys() == stack.parameters.keys()


def test_in_half_precision_a_rate_multiplies_no_factor_of_a_gradient():
    stack, nest = stack_of(lambda: mlp().bfloat16()), batch()
    stack.parameters = {name: each.bfloat16() for name, each in stack.parameters.items()}
    images, labels = nest.tensors
    nest = nest.replace([images.bfloat16(), labels])
    found = trace(stack, nest)
    with Counted() as step:
        found.descend(*stack.tensors, nest, RATES.bfloat16())
    assert (step.calls[aten.baddbmm_.default], step.calls[aten.addcmul_.default]) == (0, 6)


def test_random_numbers_are_drawn_at_each_step_and_none_while_it_is_found():
    stack, nest = stack_of(lambda: nn.Sequential(nn.Dropout(), Network())), batch()
    before = torch.get_rng_state()
    found = trace(stack, nest)
    assert torch.equal(torch.get_rng_state(), before)
    losses = [found.gradients(*stack.tensors, nest)[1].losses for _ in range(2)]
    assert not torch.equal(*losses)


def test_a_product_is_taken_before_its_factors_are_overwritten():
    def gradients_of(parameters, fixed, buffers, nest):
        errors = nest.tensors[0].flatten(2) - 1  # [runs, batch, 16]
        gradient = errors.mT @ fixed["outputs"]
        losses = errors.mul_(0).sum(dim=(1, 2))
        return {"weight": gradient}, Results(losses, fixed["outputs"], {})

    weight, outputs = torch.zeros(3, 16, 4), torch.rand(3, 6, 4)
    inputs = {"weight": weight.double()}, {"outputs": outputs.double()}, {}, batch()
    expected, _ = gradients_of(*inputs)
    trace_operations(gradients_of, *inputs, {"weight": 0}).descend(*inputs, RATES)
    ours = inputs[0]["weight"]
    torch.testing.assert_close(ours, -RATES.view(3, 1, 1) * expected["weight"])
