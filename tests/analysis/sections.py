"""Sections that tests name in configurations."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from runlab.analysis.artifacts import SampleScores, find_missing
from runlab.analysis.comparison import Comparison
from runlab.analysis.section import Findings, Section
from runlab.measure import Measure

SCORES = "tests.analysis.sections.Scores"
EXTRA = "tests.analysis.sections.Extra"


def keep_scores(folder: Path, scores: np.ndarray, targets: np.ndarray) -> None:
    kept = {"scores": scores.astype(int).tolist(), "targets": targets.tolist()}
    (folder / "scores.json").write_text(json.dumps(kept))


class Scores(Section):
    """Reads the scores of single samples; nothing of it is shown."""

    def analyze(self, sweep: Path, chosen: pd.DataFrame, measure: Measure) -> Findings:
        scores = {}
        for run in chosen["run"]:
            if (path := sweep / run / "scores.json").exists():
                kept = {name: np.array(each) for name, each in json.loads(path.read_text()).items()}
                scores[run] = SampleScores(kept["scores"], kept["targets"])
        return Findings(scores=scores, warnings=find_missing("scores", chosen["run"], scores))


class Extra(Section):
    """With a table, a figure, and a part of the page and of the Markdown file."""

    id = "extra-part"
    title = "An extra part"
    template = Path(__file__).with_name("extra.html.jinja")
    alt_texts: ClassVar[Mapping[str, str]] = {
        "extra": "A line",
        "stored": "A figure that lay there",
    }
    caption = "What is drawn, & why"

    def analyze(self, sweep: Path, chosen: pd.DataFrame, measure: Measure) -> Findings:
        return Findings({"extra": chosen[["arm", "run"]]}, warnings=["an extra warning"])

    def figures(self, comparison: Comparison) -> Mapping[str, Figure | str | None]:
        figure = Figure()
        figure.subplots().plot([0, 1], [0, 1])
        empty = "extra" in comparison.tables and comparison.tables["extra"].empty
        stored = comparison.folder / "stored.svg"
        drawn = {"stored": stored.read_text()} if stored.exists() else {}
        return {"extra": None if empty else figure, **drawn}

    def to_markdown(self, comparison: Comparison) -> str:
        return f"{len(comparison.tables['extra'])} extra"
