"""The figure of scripts/landscape.py, where there is one of the runs that are compared."""

import json
from pathlib import Path

import pandas as pd

from runlab.analysis.cells import of_chosen


def read_mountain(folder: Path, runs: pd.DataFrame, cells: pd.DataFrame) -> tuple[str, str] | None:
    """Its SVG and caption; None where it is of other runs than those of the chosen cells."""
    try:
        about = json.loads((folder / "landscape.json").read_text())
        svg = (folder / "landscape.svg").read_text()
        drawn = set(zip(about["runs"], about["fingerprints"], strict=True))
        caption = str(about["caption"])
    except (OSError, ValueError, KeyError, TypeError):
        return None  # never drawn, or by another version: the page says how to draw it
    chosen = of_chosen(runs, cells)
    current = set(zip(chosen["run"], chosen["fingerprint"], strict=True))
    return (svg, caption) if drawn <= current else None
