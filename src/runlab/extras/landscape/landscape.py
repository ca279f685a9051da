"""From a sweep to two descents and two loss surfaces on one plane."""

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd
import torch
from jaxtyping import Float64
from torch import Tensor, nn
from tqdm import tqdm

from runlab.analysis import compare
from runlab.analysis.palette import Style
from runlab.extras.evaluate import located
from runlab.extras.landscape.choice import Pair, Run, choose
from runlab.extras.landscape.images import training_images
from runlab.extras.landscape.plane import Plane, plane_through, square_around
from runlab.extras.landscape.probe import Probe, all_cores
from runlab.extras.landscape.result import Descended, Landscape
from runlab.extras.landscape.retrace import Descent, retrace

log = logging.getLogger(__name__)


def landscape(
    sweep: Path,
    arms: Sequence[str] = (),
    seed: int | None = None,
    points: int = 41,
    images: int = 2_000,
    data_dir: Path | None = None,
) -> Landscape:
    """Trains two runs of the sweep again and computes both their losses around their descents.

    Args:
        arms: two of the sweep's; by default the first two with one network and different losses.
        seed: by default the smallest with which both finished.
        points: along each side of the drawn square.
        images: of the training split, as many as there are at most.
        data_dir: where the data lie, if not where they lay for the runs.

    Raises:
        ValueError: if there are no two such runs, or no plane through their start and ends.
    """
    for name, value, least in (("points", points, 3), ("images", images, 1)):
        if value < least:
            raise ValueError(f"expected {name} of at least {least}, got {value}")
    comparison = compare(sweep)
    runs = choose(comparison, arms, seed)
    colours = comparison.arm_styles
    data = [located(run.config["data"], str(data_dir) if data_dir else None) for run in runs]
    seen, labels = training_images(data[0], images)
    require_same_images((seen, labels), training_images(data[1], images), runs)
    announce(runs)
    descents = [retrace(run, where) for run, where in zip(runs, data, strict=True)]
    plane = plane_of(descents, runs)
    log.info(
        "computing both losses at %d × %d points on %s images", points, points, f"{len(labels):,}"
    )
    with all_cores():
        probes = [Probe(each.network, seen, labels, each.device) for each in descents]
        a, b, surfaces = survey(plane, descents, probes, points)
        first, second = (
            describe(plane, run, colours[run.arm], descent, probe, surface)
            for run, descent, probe, surface in zip(runs, descents, probes, surfaces, strict=True)
        )
    one_by_one = not all(probe.vmaps for probe in probes)
    return Landscape(
        comparison.sweep, a.numpy(), b.numpy(), (first, second), len(labels), one_by_one
    )


def require_same_images(
    first: tuple[Tensor, Tensor], second: tuple[Tensor, Tensor], runs: Pair
) -> None:
    if not all(map(torch.equal, first, second)):
        raise ValueError(
            f"expected two arms trained on the same images, got {runs[0].arm} and {runs[1].arm} "
            "with different data settings: name two others by --arms"
        )


def announce(runs: Pair) -> None:
    timings = [run.record["timing"] for run in runs]
    seconds = sum((each.get("seconds") or 0) / each.get("stack", 1) for each in timings)
    log.info(
        "training two runs again for their paths: %s and %s; they took %.0f s together",
        *(run.folder.name for run in runs),
        seconds,
    )


def plane_of(descents: Sequence[Descent], runs: Pair) -> Plane:
    first, second = (each.weights for each in descents)
    if not torch.equal(first[0], second[0]):
        raise ValueError(
            f"expected both runs to start at the same weights, got {runs[0].folder.name} and "
            f"{runs[1].folder.name} at different ones: name two other arms by --arms"
        )
    return plane_through(first[0], first[-1], second[-1])


def survey(
    plane: Plane, descents: Sequence[Descent], probes: Sequence[Probe], points: int
) -> tuple[Float64[Tensor, " a"], Float64[Tensor, " b"], list[Float64[Tensor, "b a"]]]:
    """The grid, and each arm's loss on it; computed once where networks keep no state."""
    a, b = square_around(torch.cat([plane.coordinates(each.weights) for each in descents]), points)
    rows, columns = torch.meshgrid(b, a, indexing="ij")
    grid = torch.stack([columns.flatten(), rows.flatten()], dim=1)  # [points, (a, b)]
    losses = [each.loss.to(each.device) for each in descents]
    if list(probes[0].network.buffers()):
        pairs = zip(probes, losses, strict=True)
        found = torch.cat([over(plane, grid, probe, [loss]) for probe, loss in pairs], dim=1)
    else:
        found = over(plane, grid, probes[0], losses)
    return a, b, [column.reshape(points, points) for column in found.T]


def over(
    plane: Plane, grid: Float64[Tensor, "points 2"], probe: Probe, losses: Sequence[nn.Module]
) -> Float64[Tensor, "points losses"]:
    def chunks() -> Iterator[Tensor]:
        with tqdm(total=len(grid), unit="point", leave=False, disable=None) as bar:
            for chunk in grid.split(probe.points_at_once):
                yield plane.weights(chunk)
                bar.update(len(chunk))

    return probe.losses(chunks(), losses)


def describe(
    plane: Plane,
    run: Run,
    style: Style,
    descent: Descent,
    probe: Probe,
    surface: Float64[Tensor, "b a"],
) -> Descended:
    coordinates = plane.coordinates(descent.weights)
    along = descent.weights.split(probe.points_at_once)
    below = map(plane.weights, coordinates.split(probe.points_at_once))
    path = {
        "step": descent.steps,
        "a": coordinates[:, 0],
        "b": coordinates[:, 1],
        "off_plane": plane.distances(descent.weights),
        "loss": probe.losses(along, [descent.loss])[:, 0],
        "projected_loss": probe.losses(below, [descent.loss])[:, 0],
    }
    downhill = probe.descent(descent.weights[0], descent.loss).double()
    slope = plane.basis @ downhill
    return Descended(
        run=run,
        style=style,
        surface=surface.numpy(),
        path=pd.DataFrame(path),
        slope=(float(slope[0]), float(slope[1])),
        share=float(slope.norm() / downhill.norm()),
        drift=descent.drift,
    )
