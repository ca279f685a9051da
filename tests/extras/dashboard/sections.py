"""A section that a sweep of tests names: it has a figure, and a title for a curve."""

from collections.abc import Mapping
from typing import ClassVar

from matplotlib.figure import Figure

from runlab.analysis.comparison import Comparison
from runlab.analysis.section import Section

EXPLANATION = "tests.extras.dashboard.sections.Explanation"
COLUMN = "train/output_gradient_norm"


class Explanation(Section):
    title = "Why"
    alt_texts: ClassVar[Mapping[str, str]] = {"gradients": "A line", "landscape": "Not drawn"}
    curves: ClassVar[Mapping[str, str]] = {
        COLUMN: "Gradient norm at the outputs, training",
        "val/never_kept": "Never kept",
    }

    def figures(self, comparison: Comparison) -> Mapping[str, Figure | None]:
        figure = Figure()
        figure.subplots().plot([0, 1], [0, 1])
        return {"gradients": figure}

    def to_markdown(self, comparison: Comparison) -> str:
        return "Because."
