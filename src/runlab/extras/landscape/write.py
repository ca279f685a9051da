"""The landscape as files in the sweep's folder, and what its figure shows in words."""

import json
import math
from itertools import product
from pathlib import Path

import pandas as pd

from runlab import atomic
from runlab.analysis.learning_rates import rate_text, with_rate
from runlab.analysis.rendering import render, to_csv
from runlab.extras.landscape.figure import landscape_figure
from runlab.extras.landscape.landscape import ArmResult, Landscape
from runlab.runs.record import nested_dict


def write(landscape: Landscape) -> Path:
    """The folder `<sweep>/comparison`, its `landscape*` files replaced one by one, each at once."""
    folder = landscape.sweep / "comparison"
    files = {
        **render(landscape_figure(landscape), "landscape"),
        "landscape.csv": to_csv(surfaces(landscape)),
        "landscape_paths.csv": to_csv(paths(landscape)),
        # last: once it is there, so is the rest
        "landscape.json": json.dumps(summary(landscape), indent=1).encode(),
    }
    folder.mkdir(exist_ok=True)
    for name, content in files.items():
        atomic.replace(folder / name, content)
    return folder


def surfaces(landscape: Landscape) -> pd.DataFrame:
    """One row a point: a, b, and the loss of each arm under the arm's name."""
    grid = pd.DataFrame(product(landscape.b, landscape.a), columns=["b", "a"])[["a", "b"]]
    return grid.assign(**{each.arm: each.surface.flatten() for each in landscape.arms})


def paths(landscape: Landscape) -> pd.DataFrame:
    tables = [each.path.assign(arm=each.arm) for each in landscape.arms]
    columns = ["arm", "step", "a", "b", "off_plane", "loss", "projected_loss"]
    return pd.concat(tables, ignore_index=True)[columns]


def summary(landscape: Landscape) -> dict[str, object]:
    """Which runs it is of, so that a page can tell whether they are those that it shows."""
    return {
        "runs": [each.run.folder.name for each in landscape.arms],
        "fingerprints": [each.run.record["fingerprint"] for each in landscape.arms],
        "arms": [each.arm for each in landscape.arms],
        "caption": caption(landscape),
    }


def caption(landscape: Landscape) -> str:
    first, second = landscape.arms
    return " ".join(
        [
            f"{losses_text(landscape)} on the plane through the shared start and the ends of "
            f"{arm_text(first)} and {arm_text(second)} (seed {landscape.seed}, n = 1): "
            f"{len(landscape.a)} × {len(landscape.b)} points, {landscape.samples:,} training "
            "samples.",
            f"Between start and end the path of {first.arm} leaves the plane by up to "
            f"{distance_text(first)}, that of {second.arm} by up to {distance_text(second)}; "
            f"of the −gradient at the start {share_text(first)} of its length ({first.arm}) and "
            f"{share_text(second)} ({second.arm}) lie in the plane.",
            *drift_texts(landscape),
        ]
    )


def losses_text(landscape: Landscape) -> str:
    return "The loss" if landscape.one_loss else "Both losses"


def arm_text(each: ArmResult) -> str:
    value = rate_text(each.run.learning_rate)
    return each.arm + with_rate(each.run.rate, f" at {{title}} {value}")


def distance_text(each: ArmResult) -> str:
    """The largest distance from the plane, beside the distance from start to end."""
    share = each.largest_distance / each.length
    return f"{each.largest_distance:.2g} ({share:.0%} of the way from start to end)"


def share_text(each: ArmResult) -> str:
    return "nothing" if math.isnan(each.share_in_plane) else f"{each.share_in_plane:.0%}"


def drift_texts(landscape: Landscape) -> list[str]:
    """How the paths, trained again, end: as the runs did, or not, or nobody knows."""
    if all(each.drift == 0 for each in landscape.arms):
        return ["Both paths, trained again, end at the runs' last checkpoints, bit for bit."]
    return [
        drift_text(each.run.folder.name, each.drift, is_stacked(each)) for each in landscape.arms
    ]


def is_stacked(each: ArmResult) -> bool:
    return (nested_dict(each.run.record, "timing").get("stack") or 1) > 1


def drift_text(name: str, drift: float | None, stacked: bool) -> str:
    if drift is None:
        return f"{name} has no last.ckpt, so that nobody knows if its path ends where it did."
    if drift == 0:
        return f"The path of {name}, trained again, ends at its last checkpoint, bit for bit."
    if stacked:
        return (
            f"The path of {name}, trained again alone, ends up to {drift:.1g} away from its last "
            "checkpoint in some weight, as expected: the run trained in a stack, which rounds "
            "otherwise."
        )
    return (
        f"Caution: the path of {name}, trained again, ends up to {drift:.1g} away from its last "
        "checkpoint in some weight, as after training on other hardware or versions."
    )
