import os

import pytest
import torch
from torch import nn

from losslab.losses import MSE, CrossEntropy
from losslab.models import CNN, MLP
from runlab.extras.landscape import loss_surface
from runlab.extras.landscape.loss_surface import LossSurface, all_cores
from runlab.extras.landscape.plane import plane_through

INPUTS, TARGETS = torch.randn(6, 1, 8, 8), torch.arange(6)


class Itself(nn.Module):
    """Its outputs are its weights, whatever the input."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.zeros(size))

    def forward(self, inputs):
        return self.weights.expand(len(inputs), -1)


class Quadratic(nn.Module):
    """½ (w − w*)ᵀ H (w − w*), of the outputs w."""

    def __init__(self, minimum, hessian) -> None:
        super().__init__()
        self.minimum, self.hessian = minimum, hessian

    def forward(self, outputs, targets):
        away = outputs - self.minimum
        return 0.5 * ((away @ self.hessian) * away).sum(dim=1).mean()


class Branching(nn.Module):
    """Torch cannot compute it at many points at once: what it does depends on a value."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(64, 10)

    def forward(self, inputs):
        outputs = self.layer(inputs.flatten(1))
        return outputs if outputs.sum() > 0 else 2 * outputs


@pytest.fixture
def quadratic():
    torch.manual_seed(0)
    root = torch.randn(7, 7)
    return Quadratic(torch.randn(7), root @ root.T)


def random_points(network: nn.Module, count: int = 5) -> torch.Tensor:
    size = sum(p.numel() for p in network.parameters())
    return 0.3 * torch.randn(count, size, generator=torch.Generator().manual_seed(1))


def test_a_quadratics_surface_is_the_known_one(quadratic):
    plane = plane_through(*torch.randn(3, 7))
    grid = torch.cartesian_prod(torch.linspace(-3, 3, 5), torch.linspace(-2, 2, 4)).double()
    found = LossSurface(Itself(7), INPUTS, TARGETS).losses([plane.weights(grid)], [quadratic])[:, 0]
    basis, hessian = plane.basis, quadratic.hessian.double()
    offset = plane.start - quadratic.minimum.double()
    known = (
        0.5 * offset @ hessian @ offset
        + grid @ (basis @ hessian @ offset)
        + 0.5 * ((grid @ (basis @ hessian @ basis.T)) * grid).sum(dim=1)
    )
    torch.testing.assert_close(found, known, rtol=1e-4, atol=1e-4)


def test_a_quadratics_gradient_is_the_known_one(quadratic, monkeypatch):
    monkeypatch.setattr(loss_surface, "MEMORY", 1e-9)  # one sample at a time
    point = torch.randn(7)
    found = LossSurface(Itself(7), INPUTS, TARGETS).negative_gradient(point, quadratic)
    torch.testing.assert_close(found, -quadratic.hessian @ (point - quadratic.minimum))


@pytest.mark.parametrize(
    "network", [MLP((1, 8, 8), 10, widths=[16]), CNN((1, 8, 8), 10, widths=[8], dropout=0.5)]
)
def test_all_points_at_once_are_as_one_after_another(network):
    points, losses = random_points(network), [CrossEntropy(), MSE()]
    at_once, one_by_one = (
        LossSurface(network, INPUTS, TARGETS),
        LossSurface(network, INPUTS, TARGETS),
    )
    one_by_one.is_vmapped = False
    found = at_once.losses([points], losses)
    assert at_once.is_vmapped
    torch.testing.assert_close(found, one_by_one.losses([points], losses), rtol=1e-4, atol=1e-5)
    nn.utils.vector_to_parameters(points[2], network.parameters())
    outputs = network(INPUTS).detach()
    expected = [float(loss(outputs, TARGETS)) for loss in losses]
    assert found[2].tolist() == pytest.approx(expected, rel=1e-4)


def test_a_network_that_branches_is_computed_point_after_point(caplog):
    caplog.set_level("INFO")
    network = Branching()
    points, loss_surface = random_points(network), LossSurface(network, INPUTS, TARGETS)
    found = loss_surface.losses(points.split(2), [CrossEntropy()])[:, 0].tolist()
    assert not loss_surface.is_vmapped
    assert caplog.text.count("one after another") == 1
    for point, value in zip(points, found, strict=True):
        nn.utils.vector_to_parameters(point, network.parameters())
        expected = CrossEntropy()(network(INPUTS).detach(), TARGETS)
        assert value == pytest.approx(float(expected), rel=1e-5)


def test_memory_bounds_what_is_computed_at_once_and_changes_nothing(monkeypatch):
    network = MLP((1, 8, 8), 10, widths=[16])
    points = random_points(network)
    whole = LossSurface(network, INPUTS, TARGETS)
    monkeypatch.setattr(loss_surface, "MEMORY", 2.5 * 4 * (64 + 64 + 16 + 16 + 10 + 10))
    small = LossSurface(network, INPUTS, TARGETS)
    assert whole.samples_at_once == 6
    assert (small.samples_at_once, small.points_at_once) == (2, 1)
    for loss in (CrossEntropy(), MSE()):
        found = small.losses(points.split(small.points_at_once), [loss])
        torch.testing.assert_close(found, whole.losses([points], [loss]), rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(
            small.negative_gradient(points[0], loss), whole.negative_gradient(points[0], loss)
        )


def test_a_loss_that_is_no_number_stays_none():
    network = MLP((1, 8, 8), 10, widths=[16])
    points = random_points(network)
    points[1] = float("nan")
    finite = LossSurface(network, INPUTS, TARGETS).losses([points], [MSE()]).isfinite()
    assert finite[:, 0].tolist() == [True, False, True, True, True]


def test_the_cores_are_given_back():
    before = torch.get_num_threads()
    with all_cores():
        assert torch.get_num_threads() == os.cpu_count()
    assert torch.get_num_threads() == before
