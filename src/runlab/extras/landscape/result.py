"""What is drawn, as numbers."""

import math
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from jaxtyping import Float64
from numpy import ndarray

from runlab.analysis.palette import Style
from runlab.extras.landscape.choice import Run


@dataclass(frozen=True)
class Descended:
    """One of the two runs: its way over the plane, and its loss's surface.

    Attributes:
        surface: its loss at each point of the plane; NaN or infinite where it is no number.
        path: a row for each snapshot: step, a, b, off_plane (distance from the plane), loss, and
            projected_loss (at the nearest point on the plane).
        slope: (a, b) of its loss's −gradient at the start.
        share: the length of `slope` over that of the whole −gradient; NaN where that is 0.
        drift: the largest difference between the end of the path and the run's last checkpoint;
            None if it has none.
    """

    run: Run
    style: Style
    surface: Float64[ndarray, "b a"]
    path: pd.DataFrame
    slope: tuple[float, float]
    share: float
    drift: float | None

    @property
    def arm(self) -> str:
        return self.run.arm

    @property
    def end(self) -> tuple[float, float]:
        return float(self.path["a"].iloc[-1]), float(self.path["b"].iloc[-1])

    @property
    def way(self) -> float:
        """The distance in weight space from the start to the end."""
        return math.hypot(*self.end)

    @property
    def farthest(self) -> float:
        """The largest distance of the path from the plane."""
        return float(self.path["off_plane"].max())


@dataclass(frozen=True)
class Landscape:
    """Two descents from one start, (0, 0), on the square grid of `a` and `b`.

    Attributes:
        images: how many training images the losses are means over.
        one_by_one: whether the network could not be computed at many points at once.
    """

    sweep: Path
    a: Float64[ndarray, " a"]
    b: Float64[ndarray, " b"]
    arms: tuple[Descended, Descended]
    images: int
    one_by_one: bool

    @property
    def seed(self) -> int:
        return self.arms[0].run.config["seed"]

    @property
    def one_loss(self) -> bool:
        """Whether both arms descended the same surface."""
        first, second = (each.run.config["loss"] for each in self.arms)
        return first == second
