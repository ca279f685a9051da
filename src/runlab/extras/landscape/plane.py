"""The plane through three points of weight space, and the part of it that is drawn."""

from dataclasses import dataclass

import torch
from jaxtyping import Float32, Float64
from torch import Tensor

MARGIN = 0.2
SMALLEST_SINE = 1e-3
"""Of the angle between the directions of the two ends; a smaller one is rounding, no plane."""


@dataclass(frozen=True)
class Plane:
    """start + a·basis[0] + b·basis[1]; the basis is orthonormal, so a and b are distances.

    The first end lies at b = 0, a > 0, the second at b > 0. In double precision, in which
    single-precision weights lie on it exactly but for rounding in the last place.
    """

    start: Float64[Tensor, " weights"]
    basis: Float64[Tensor, "2 weights"]

    def coordinates(
        self, weights: Float32[Tensor, "points weights"]
    ) -> Float64[Tensor, "points 2"]:
        """(a, b) of the nearest point on the plane."""
        return (weights.double() - self.start) @ self.basis.T

    def weights(
        self, coordinates: Float64[Tensor, "points 2"]
    ) -> Float32[Tensor, "points weights"]:
        return (self.start + coordinates @ self.basis).float()

    def distances(self, weights: Float32[Tensor, "points weights"]) -> Float64[Tensor, " points"]:
        """‖w − nearest point on the plane‖."""
        away = weights.double() - self.start
        return (away - (away @ self.basis.T) @ self.basis).norm(dim=1)


def plane_through(
    start: Float32[Tensor, " weights"],
    first: Float32[Tensor, " weights"],
    second: Float32[Tensor, " weights"],
) -> Plane:
    """Gram and Schmidt's basis of first − start and second − start.

    Raises:
        ValueError: if the three points lie on one line, or nearly.
    """
    u, v = first.double() - start.double(), second.double() - start.double()
    along = u / u.norm()
    across = v - (v @ along) * along
    across = across - (across @ along) * along  # again: the first time leaves rounding behind
    sine = float(across.norm() / v.norm())
    if not sine > SMALLEST_SINE:  # NaN where an end is the start
        raise ValueError(
            f"expected two ends that span a plane with their start, got three points on one line "
            f"(sine of the angle between their directions {sine:.1g}): choose two other arms by "
            "--arms, or another --seed"
        )
    return Plane(start.double(), torch.stack([along, across / across.norm()]))


def square_grid(
    points: Float64[Tensor, "points 2"], count: int
) -> tuple[Float64[Tensor, " count"], Float64[Tensor, " count"]]:
    """`count` values of a and of b, of a square that holds all points and a margin of 20%."""
    low, high = points.amin(dim=0), points.amax(dim=0)
    centre, half = (low + high) / 2, (0.5 + MARGIN) * (high - low).max()
    line = torch.linspace(-1, 1, count, dtype=torch.float64) * half
    return centre[0] + line, centre[1] + line
