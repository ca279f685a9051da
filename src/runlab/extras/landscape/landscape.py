"""From a sweep to two trajectories and two loss surfaces on one plane."""

import logging
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch
from jaxtyping import Float64
from numpy import ndarray
from torch import Tensor, nn
from tqdm import tqdm

from runlab.analysis.compare import compare
from runlab.analysis.palette import Style
from runlab.components import located
from runlab.extras.landscape.choice import ChosenRun, Pair, choose
from runlab.extras.landscape.loss_surface import LossSurface, all_cores
from runlab.extras.landscape.plane import Plane, plane_through, square_grid
from runlab.extras.landscape.trajectory import (
    Trajectory,
    retrain,
    training_samples,
    without_output,
)

log = logging.getLogger(__name__)

MOST_POINTS = 1_000
"""Along each side: a million losses take hours."""


@dataclass(frozen=True)
class ArmResult:
    """One of the two runs: its path over the plane, and its loss's surface.

    Attributes:
        surface: its loss at each point of the plane; NaN or infinite where it is no number.
        path: a row for each snapshot: step, a, b, off_plane (distance from the plane), loss, and
            projected_loss (at the nearest point on the plane).
        gradient_in_plane: (a, b) of its loss's −gradient at the start.
        share_in_plane: the length of `gradient_in_plane` over that of the whole −gradient; NaN
            where that is 0.
        drift: the largest difference between the end of the path and the run's last checkpoint;
            None if it has none.
    """

    run: ChosenRun
    style: Style
    surface: Float64[ndarray, "b a"]
    path: pd.DataFrame
    gradient_in_plane: tuple[float, float]
    share_in_plane: float
    drift: float | None

    @property
    def arm(self) -> str:
        return self.run.arm

    @property
    def end(self) -> tuple[float, float]:
        return float(self.path["a"].iloc[-1]), float(self.path["b"].iloc[-1])

    @property
    def length(self) -> float:
        """The distance in weight space from the start to the end."""
        return math.hypot(*self.end)

    @property
    def largest_distance(self) -> float:
        """The largest distance of the path from the plane."""
        return float(self.path["off_plane"].max())


@dataclass(frozen=True)
class Landscape:
    """Two trajectories from one start, (0, 0), on the square grid of `a` and `b`.

    Attributes:
        samples: how many training samples the losses are means over.
    """

    sweep: Path
    a: Float64[ndarray, " a"]
    b: Float64[ndarray, " b"]
    arms: tuple[ArmResult, ArmResult]
    samples: int

    @property
    def seed(self) -> int:
        return self.arms[0].run.config["seed"]

    @property
    def one_loss(self) -> bool:
        """Whether both arms were trained by the same loss, and so have one surface."""
        first, second = (each.run.config["loss"] for each in self.arms)
        return first == second


def compute_landscape(
    sweep: Path,
    arms: Sequence[str] = (),
    seed: int | None = None,
    points: int = 41,
    samples: int = 2_000,
    data_dir: Path | None = None,
) -> Landscape:
    """Trains two runs of the sweep again and computes both their losses around their trajectories.

    Args:
        arms: two of the sweep's; by default the first two with one network and different losses.
        seed: by default the smallest with which both finished.
        points: along each side of the drawn square.
        samples: of the training split, as many as there are at most.
        data_dir: where the data lie, if not where they lay for the runs.

    Raises:
        ValueError: if there are no two such runs, or no plane through their start and ends.
    """
    for name, value, least in (("points", points, 3), ("samples", samples, 1)):
        if value < least:
            raise ValueError(f"expected {name} of at least {least}, got {value}")
    if points > MOST_POINTS:
        raise ValueError(f"expected points of at most {MOST_POINTS}, got {points}")
    comparison = compare(sweep)
    runs = choose(comparison, arms, seed)
    styles = comparison.arm_styles
    configs = [located(run.config, str(data_dir) if data_dir else None) for run in runs]
    for run, config in zip(runs, configs, strict=True):
        without_output(config, run.folder.name, "")  # says what is wrong before a run is trained
    inputs, targets = training_samples(configs[0], samples)
    require_same_samples((inputs, targets), training_samples(configs[1], samples), runs)
    log_runs(runs)
    trajectories = [retrain(run, config) for run, config in zip(runs, configs, strict=True)]
    plane = plane_of(trajectories, runs)
    log.info(
        "computing both losses at %d × %d points on %s samples", points, points, f"{len(targets):,}"
    )
    with all_cores():
        loss_surfaces = [
            LossSurface(each.network, inputs, targets, each.device) for each in trajectories
        ]
        a, b, surfaces = evaluate_surfaces(plane, trajectories, loss_surfaces, points)
        first, second = (
            arm_result(plane, run, styles[run.arm], trajectory, loss_surface, surface)
            for run, trajectory, loss_surface, surface in zip(
                runs, trajectories, loss_surfaces, surfaces, strict=True
            )
        )
    return Landscape(comparison.sweep, a.numpy(), b.numpy(), (first, second), len(targets))


def require_same_samples(
    first: tuple[Tensor, Tensor], second: tuple[Tensor, Tensor], runs: Pair
) -> None:
    if not all(map(torch.equal, first, second)):
        raise ValueError(
            f"expected two arms trained on the same samples, got {runs[0].arm} and {runs[1].arm} "
            "with different data settings: name two others by --arms"
        )


def log_runs(runs: Pair) -> None:
    timings = [run.record["timing"] for run in runs]
    seconds = sum((each.get("seconds") or 0) / each.get("stack", 1) for each in timings)
    log.info(
        "training two runs again for their paths: %s and %s; they took %.0f s together",
        *(run.folder.name for run in runs),
        seconds,
    )


def plane_of(trajectories: Sequence[Trajectory], runs: Pair) -> Plane:
    first, second = (each.weights for each in trajectories)
    if not torch.equal(first[0], second[0]):
        raise ValueError(
            f"expected both runs to start at the same weights, got {runs[0].folder.name} and "
            f"{runs[1].folder.name} at different ones: name two other arms by --arms"
        )
    return plane_through(first[0], first[-1], second[-1])


def evaluate_surfaces(
    plane: Plane,
    trajectories: Sequence[Trajectory],
    loss_surfaces: Sequence[LossSurface],
    points: int,
) -> tuple[Float64[Tensor, " a"], Float64[Tensor, " b"], list[Float64[Tensor, "b a"]]]:
    """The grid, and each arm's loss on it; computed once where networks keep no state."""
    a, b = square_grid(
        torch.cat([plane.coordinates(each.weights) for each in trajectories]), points
    )
    rows, columns = torch.meshgrid(b, a, indexing="ij")
    grid = torch.stack([columns.flatten(), rows.flatten()], dim=1)  # [points, (a, b)]
    losses = [each.loss.to(each.device) for each in trajectories]
    if list(loss_surfaces[0].network.buffers()):
        pairs = zip(loss_surfaces, losses, strict=True)
        found = torch.cat(
            [evaluate_grid(plane, grid, loss_surface, [loss]) for loss_surface, loss in pairs],
            dim=1,
        )
    else:
        found = evaluate_grid(plane, grid, loss_surfaces[0], losses)
    return a, b, [column.reshape(points, points) for column in found.T]


def evaluate_grid(
    plane: Plane,
    grid: Float64[Tensor, "points 2"],
    loss_surface: LossSurface,
    losses: Sequence[nn.Module],
) -> Float64[Tensor, "points losses"]:
    def chunks() -> Iterator[Tensor]:
        with tqdm(total=len(grid), unit="point", leave=False, disable=None) as bar:
            for chunk in grid.split(loss_surface.points_at_once):
                yield plane.weights(chunk)
                bar.update(len(chunk))

    return loss_surface.losses(chunks(), losses)


def arm_result(
    plane: Plane,
    run: ChosenRun,
    style: Style,
    trajectory: Trajectory,
    loss_surface: LossSurface,
    surface: Float64[Tensor, "b a"],
) -> ArmResult:
    coordinates = plane.coordinates(trajectory.weights)
    along = trajectory.weights.split(loss_surface.points_at_once)
    projected = map(plane.weights, coordinates.split(loss_surface.points_at_once))
    path = {
        "step": trajectory.steps,
        "a": coordinates[:, 0],
        "b": coordinates[:, 1],
        "off_plane": plane.distances(trajectory.weights),
        "loss": loss_surface.losses(along, [trajectory.loss])[:, 0],
        "projected_loss": loss_surface.losses(projected, [trajectory.loss])[:, 0],
    }
    negative_gradient = loss_surface.negative_gradient(
        trajectory.weights[0], trajectory.loss
    ).double()
    gradient_in_plane = plane.basis @ negative_gradient
    return ArmResult(
        run=run,
        style=style,
        surface=surface.numpy(),
        path=pd.DataFrame(path),
        gradient_in_plane=(float(gradient_in_plane[0]), float(gradient_in_plane[1])),
        share_in_plane=float(gradient_in_plane.norm() / negative_gradient.norm()),
        drift=trajectory.drift,
    )
