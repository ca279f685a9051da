"""Sections of a comparison of classifiers: how good their probabilities are, why losses differ."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from runlab.analysis.artifacts import SampleScores, find_missing
from runlab.analysis.comparison import Comparison
from runlab.analysis.figures.learning_curves import has_values
from runlab.analysis.formatting import interval
from runlab.analysis.runs import MODULE
from runlab.analysis.section import Findings, Section
from runlab.extras.classification.report.figures import confusion_figure, reliability_figure
from runlab.extras.classification.report.gradients import gradients_figure
from runlab.extras.classification.report.predictions import (
    read_predictions,
    summarize_confusion,
    summarize_reliability,
)
from runlab.measure import Measure
from runlab.text import piped

FOLDER = Path(__file__).parent
FORMULA = "probability_formula"
"""Of the run record's `module`: how a loss makes class probabilities of outputs."""


CALIBRATION = ("nll", "brier", "ece")
"""Names of the measures of probabilities."""


def has_probabilities(comparison: Comparison) -> bool:
    """Whether runs measured probabilities of classes, or kept predictions: not in a regression."""
    kept = comparison.tables.get("reliability")
    measured = any(each.name in CALIBRATION for each in comparison.measures)
    return measured or (kept is not None and not kept.empty)


class Calibration(Section):
    """NLL, Brier score and ECE; of runs that kept predictions, reliability and confusion too.

    It scores each test image by whether its predicted class is right, for intervals of a
    difference in accuracy over seeds and images.
    """

    id = "calibration"
    title = "Calibration"
    template = FOLDER / "calibration.html.jinja"
    alt_texts: ClassVar[Mapping[str, str]] = {
        "reliability": "Accuracy against confidence, a diagram for each arm",
        "confusion": "Errors by true and predicted class, a matrix for each arm",
    }
    names = CALIBRATION
    note = (
        "How good the probabilities are, on the test set: negative log-likelihood (natural "
        "logarithm), Brier score (0 to 2), expected calibration error over 15 equal bins; mean and "
        "Student's 95% interval over seeds. The class probabilities are made from the network's "
        "outputs z by the formula that the loss names: with 10 classes, a softmax of a perfect "
        "classifier's raw outputs would give a confidence of 0.232."
    )

    def analyze(self, sweep: Path, chosen: pd.DataFrame, measure: Measure) -> Findings:
        predictions, unusable = read_predictions(sweep, chosen["run"])
        scores = {
            run: SampleScores(each.correct.view(np.int8), each.label)
            for run, each in predictions.items()
            if measure.name == "accuracy"
        }
        return Findings(
            tables={
                "reliability": summarize_reliability(chosen, predictions),
                "confusion": summarize_confusion(chosen, predictions),
            },
            scores=scores,
            warnings=[*unusable, *find_missing("predictions", chosen["run"], predictions)],
        )

    def applies(self, comparison: Comparison) -> bool:
        return has_probabilities(comparison)

    def figures(self, comparison: Comparison) -> Mapping[str, Figure | None]:
        tables, styles = comparison.tables, comparison.arm_styles
        arms = pd.DataFrame(self.rows(comparison))
        return {
            "reliability": reliability_figure(tables["reliability"], arms, styles),
            "confusion": confusion_figure(tables["confusion"], styles),
        }

    def to_markdown(self, comparison: Comparison) -> str:
        measures = self.measures(comparison)
        header = ["arm", "probabilities", "n", *(f"{each.title} [95%]" for each in measures)]
        rows = [
            [
                row["arm"],
                row[FORMULA] or "not recorded",
                str(row["n"]),
                *(self.interval(row, each) for each in measures),
            ]
            for row in self.rows(comparison)
        ]
        return "\n".join([*piped(header, rows), "", self.note])

    def measures(self, comparison: Comparison) -> list[Measure]:
        """Those of the three that the runs declare beside the primary one."""
        return [each for each in comparison.other_measures if each.name in self.names]

    def interval(self, row: Mapping[str, Any], measure: Measure) -> str:
        low, high = (row[f"test_{measure.name}_{end}"] for end in ("low", "high"))
        return interval(row[f"test_{measure.name}"], low, high, digits=measure.digits)

    def rows(self, comparison: Comparison) -> list[dict[Any, Any]]:
        """Of each arm its row in `comparison.arms`, with `probability_formula` ("" if unknown)."""
        unknown = {FORMULA: "", "test_ece": np.nan, "test_ece_low": np.nan, "test_ece_high": np.nan}
        arms = comparison.arms.rename(columns={MODULE + FORMULA: FORMULA})
        return [unknown | row for row in arms.to_dict("records")]


class Gradients(Section):
    """How hard single images pull at the network's outputs, measured and in closed form."""

    id = "why"
    title = "Why: the gradient at the outputs"
    template = FOLDER / "gradients.html.jinja"
    alt_texts: ClassVar[Mapping[str, str]] = {
        "gradients": "How hard images pull at the network's outputs, for each arm"
    }
    curves: ClassVar[Mapping[str, str]] = {
        "train/output_gradient_norm": "Gradient norm at the outputs, training",
        "val/output_gradient_norm_wrong": "Gradient norm at the outputs, mistakes",
    }
    note = (
        "The 2-norm of the gradient of one image's loss in the network's outputs. After a softmax "
        "the squared error hardly pulls on a confidently wrong image: of 10 classes, at a logit "
        "gap of 10, its gradient is 4.8·10⁻⁴, cross-entropy's 1.414."
    )

    def applies(self, comparison: Comparison) -> bool:
        recorded = any(has_values(comparison.history, column) for column in self.curves)
        return recorded or has_probabilities(comparison)

    def figures(self, comparison: Comparison) -> Mapping[str, Figure | None]:
        curves, styles = comparison.curves, comparison.arm_styles
        known = comparison.known_styles
        return {
            "gradients": gradients_figure(curves, comparison.arms, styles, known, comparison.rate)
        }

    def to_markdown(self, comparison: Comparison) -> str:
        return self.note
