"""The landscape as files in the sweep's folder."""

import json
from itertools import product
from pathlib import Path

import pandas as pd

from runlab import atomic
from runlab.analysis.rendering import render
from runlab.extras.landscape.caption import caption
from runlab.extras.landscape.figure import landscape_figure
from runlab.extras.landscape.result import Landscape


def write(landscape: Landscape) -> Path:
    """The folder `<sweep>/comparison`, its `landscape*` files replaced one by one, each at once."""
    folder = landscape.sweep / "comparison"
    files = {
        **render(landscape_figure(landscape), "landscape"),
        "landscape.csv": surfaces(landscape).to_csv(index=False).encode(),
        "landscape_paths.csv": paths(landscape).to_csv(index=False).encode(),
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
