"""A stack's step as bare operations: what vmap and autograd come to, and gradient descent."""

from collections import Counter

import pytest
import torch
from torch import Tensor, nn
from torch.optim import SGD
from torch.utils._python_dispatch import TorchDispatchMode

from losslab.losses import CrossEntropy
from losslab.models import CNN, MLP
from runlab.stacks.stack import Stack
from runlab.stacks.step_request import Member
from runlab.stacks.trace import Operations, trace_operations

RATES = torch.tensor([0.1, 0.02, 0.5], dtype=torch.float64)
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


def mlp() -> nn.Module:
    return MLP((1, 4, 4), 4, [8, 8], nn.ReLU())


def cnn() -> nn.Module:
    return CNN((1, 4, 4), 4, [4], groups=2)


def stack_of(make) -> Stack:
    members = []
    for seed in range(len(RATES)):
        torch.manual_seed(seed)
        network = make().double()
        factory = lambda parameters: SGD(parameters, lr=0.1)  # noqa: E731
        optimizer = factory(network.parameters())
        members.append(Member(lambda x: x, network, CrossEntropy(), optimizer, factory, None))
    return Stack(members)


def batch() -> tuple[Tensor, Tensor]:
    torch.manual_seed(0)
    images = torch.rand(len(RATES), 6, 1, 4, 4, dtype=torch.float64)
    return images, torch.randint(0, 4, (len(RATES), 6))


@pytest.mark.parametrize(
    "make",
    [mlp, cnn, Product, Tied, Square, Overwriting, Turning, Conjugate, TwoPrecisions, Scaled],
)
def test_they_come_to_gradients_and_to_a_step_down_them(make):
    stack, (images, labels) = stack_of(make), batch()
    before = {name: each.clone() for name, each in stack.parameters.items()}
    found = trace_operations(
        stack.operations.gradients, stack.parameters, stack.fixed, images, labels
    )
    torch.testing.assert_close(stack.parameters, before, rtol=0, atol=0)

    other_images, other_labels = images.flip(1) * 2, labels.flip(1)
    inputs = stack.fixed, other_images, other_labels
    expected, (losses, outputs) = stack.operations.gradients(stack.parameters, *inputs)
    gradients, ours = found.gradients(stack.parameters, *inputs)
    torch.testing.assert_close(gradients, expected)
    torch.testing.assert_close(ours, (losses, outputs))

    assert found.descend is not None
    ours = found.descend(stack.parameters, *inputs, RATES)
    torch.testing.assert_close(ours, (losses, outputs))
    for name, parameter in stack.parameters.items():
        rates = RATES.view(-1, *[1] * (parameter.ndim - 1))
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
    stack, (images, labels) = stack_of(mlp), batch()
    inputs = stack.parameters, stack.fixed, images, labels
    found = trace_operations(stack.operations.gradients, *inputs)
    with Counted() as untraced:
        stack.operations.gradients(*inputs)
    with Counted() as step:
        found.descend(*inputs, RATES)
    assert (step.calls[aten.baddbmm_.default], step.calls[aten.addcmul_.default]) == (3, 3)
    assert step.calls[aten.bmm.default] == untraced.calls[aten.bmm.default] - 3
    assert step.calls.total() < untraced.calls.total() * 2 / 3


def test_a_stack_takes_all_but_its_last_step_in_one():
    stack, (images, labels) = stack_of(mlp), batch()
    inputs = stack.parameters, stack.fixed, images, labels
    found = trace_operations(stack.operations.gradients, *inputs)
    stack.operations = Operations(found.gradients, found.descend)
    steps = [each.expand(4, *each.shape) for each in images], [y.expand(4, 6) for y in labels]
    with Counted() as counted:
        stack.take_steps(*steps, RATES.view(3, 1).expand(3, 4))
    assert counted.calls[aten.baddbmm_.default] == 3 * 3
    assert stack.gradients.keys() == stack.parameters.keys()


def test_in_half_precision_a_rate_multiplies_no_factor_of_a_gradient():
    stack, (images, labels) = stack_of(lambda: mlp().bfloat16()), batch()
    stack.parameters = {name: each.bfloat16() for name, each in stack.parameters.items()}
    inputs = stack.parameters, stack.fixed, images.bfloat16(), labels
    found = trace_operations(stack.operations.gradients, *inputs)
    with Counted() as step:
        found.descend(*inputs, RATES.bfloat16())
    assert (step.calls[aten.baddbmm_.default], step.calls[aten.addcmul_.default]) == (0, 6)


def test_random_numbers_are_drawn_at_each_step_and_none_while_it_is_found():
    stack, (images, labels) = stack_of(lambda: nn.Sequential(nn.Dropout(), Network())), batch()
    inputs = stack.parameters, stack.fixed, images, labels
    before = torch.get_rng_state()
    found = trace_operations(stack.operations.gradients, *inputs)
    assert torch.equal(torch.get_rng_state(), before)
    losses = [found.gradients(*inputs)[1][0] for _ in range(2)]
    assert not torch.equal(*losses)


def test_a_product_is_taken_before_its_factors_are_overwritten():
    def gradients_of(parameters, fixed, images, labels):
        errors = images.flatten(2) - 1  # [runs, batch, 16]
        gradient = errors.mT @ fixed["outputs"]
        return {"weight": gradient}, (errors.mul_(0).sum(dim=(1, 2)), fixed["outputs"])

    weight, outputs = torch.zeros(3, 16, 4), torch.rand(3, 6, 4)
    inputs = {"weight": weight.double()}, {"outputs": outputs.double()}, *batch()
    expected, _ = gradients_of(*inputs)
    trace_operations(gradients_of, *inputs).descend(*inputs, RATES)
    ours = inputs[0]["weight"]
    torch.testing.assert_close(ours, -RATES.view(3, 1, 1) * expected["weight"])
