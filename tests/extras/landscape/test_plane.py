import pytest
import torch

from runlab.extras.landscape.plane import plane_through, square_grid


@pytest.fixture
def anchors():
    return torch.randn(3, 5_000, generator=torch.Generator().manual_seed(0)) * 0.05


def test_start_and_ends_lie_on_the_plane_where_they_should(anchors):
    plane = plane_through(*anchors)
    a, b = plane.coordinates(anchors).T
    ways = (anchors[1:] - anchors[0]).double().norm(dim=1)
    torch.testing.assert_close(a[:2], torch.stack([torch.zeros_like(ways[0]), ways[0]]))
    assert b[:2].abs().max() < 1e-12
    assert b[2] > 0
    torch.testing.assert_close(torch.hypot(a[2], b[2]), ways[1])
    assert plane.distances(anchors).max() < 1e-12
    assert torch.equal(plane.weights(plane.coordinates(anchors)), anchors)


def test_the_basis_is_orthonormal_even_where_the_ends_are_close(anchors):
    start, first, other = anchors
    plane = plane_through(start, first, start + (first - start) * 0.9 + 0.01 * other)
    torch.testing.assert_close(
        plane.basis @ plane.basis.T, torch.eye(2, dtype=torch.float64), atol=1e-12, rtol=0
    )


def test_distances_from_a_known_plane():
    plane = plane_through(torch.zeros(3), torch.tensor([2.0, 0, 0]), torch.tensor([1.0, 3, 0]))
    points = torch.tensor([[1.0, 2, -4], [5, 6, 0]])
    assert plane.coordinates(points).tolist() == [[1, 2], [5, 6]]
    assert plane.distances(points).tolist() == [4, 0]
    assert plane.weights(torch.tensor([[7.0, 8]]).double()).tolist() == [[7, 8, 0]]


@pytest.mark.parametrize("second", [[2.0, 4, 6], [-1.0, -2, -3], [0.0, 0, 0]])
def test_three_points_on_a_line_are_refused(second):
    first = torch.tensor([1.0, 2, 3])
    with pytest.raises(ValueError, match=r"expected two ends that span a plane .* on one line"):
        plane_through(torch.zeros(3), first, torch.tensor(second))
    with pytest.raises(ValueError, match=r"on one line .* --arms"):
        plane_through(first, first, torch.tensor([5.0, 0, 0]))


def test_the_square_holds_all_points_and_a_margin():
    points = torch.tensor([[0.0, 0], [10, 1], [4, 3]]).double()
    a, b = square_grid(points, 5)
    assert a.tolist() == [-2, 1.5, 5, 8.5, 12]
    assert b.tolist() == [-5.5, -2, 1.5, 5, 8.5]
