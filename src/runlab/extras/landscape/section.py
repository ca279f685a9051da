"""The loss landscape in a comparison, where it was drawn."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import pandas as pd

from runlab import program
from runlab.analysis.comparison import Comparison
from runlab.analysis.section import Findings, Section
from runlab.measure import Measure
from runlab.text import code, markdown

NAME = "landscape"


class LandscapeSection(Section):
    """Figure and caption, while they are of runs of the chosen cells; else how to draw them."""

    id = "loss-landscape"
    title = "Loss landscape"
    template = Path(__file__).with_name("section.html.jinja")
    alt_texts: ClassVar[Mapping[str, str]] = {
        NAME: "The loss on a plane through the start and the ends of training"
    }

    def analyze(self, sweep: Path, chosen: pd.DataFrame, measure: Measure) -> Findings:
        """Its table has the runs of all chosen cells, also of arms that are not shown."""
        return Findings(tables={NAME: chosen[["run", "fingerprint"]]})

    def figures(self, comparison: Comparison) -> Mapping[str, str]:
        drawn = read_landscape(comparison)
        return {} if drawn is None else {NAME: drawn[0]}

    def to_markdown(self, comparison: Comparison) -> str:
        drawn = read_landscape(comparison)
        return how_to_draw(comparison.sweep) if drawn is None else markdown(drawn[1])

    def caption(self, comparison: Comparison) -> str:
        drawn = read_landscape(comparison)
        return how_to_draw(comparison.sweep) if drawn is None else drawn[1]


def read_landscape(comparison: Comparison) -> tuple[str, str] | None:
    """SVG and caption; None where it is of other runs than those of the chosen cells."""
    folder = comparison.folder
    try:
        about = json.loads((folder / f"{NAME}.json").read_text(encoding="utf-8"))
        svg = (folder / f"{NAME}.svg").read_text(encoding="utf-8")
        drawn = set(zip(about["runs"], about["fingerprints"], strict=True))
        caption = str(about["caption"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None  # never drawn, or by another version
    chosen = comparison.tables[NAME]
    current = set(zip(chosen["run"], chosen["fingerprint"], strict=True))
    is_whole = svg.rstrip().endswith("</svg>")
    return (svg, caption) if is_whole and drawn <= current else None


def how_to_draw(sweep: Path) -> str:
    folder = f"logs/{sweep.name}" if sweep.parent.name == "logs" else str(sweep)
    command = code(program.command("landscape", folder))
    return f"Not drawn for these runs. {command} draws it for two arms with the same network."
