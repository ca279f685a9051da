"""Why one loss learns from its errors and another does not: how hard images pull."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from runlab.analysis.figures.canvas import SMALL, blank, entitle, tidy
from runlab.analysis.figures.curve import draw_curve, is_known
from runlab.analysis.figures.learning_curves import explain_curves, scale_epochs
from runlab.analysis.figures.saturation import GRADIENT_NORMS
from runlab.analysis.figures.scales import plain, scale_positive
from runlab.analysis.palette import INK, KNOWN, Looks, styles

MEASURED = {
    "train/output_gradient_norm": ("While training", "mean over the images of a batch"),
    "val/output_gradient_norm_wrong": (
        "On what it gets wrong", "mean over misclassified validation images"
    ),
}  # fmt: skip
GAPS = np.linspace(0, 20, 201)
ANNOTATED = (5.0, 10.0, 20.0)
FORMULAS = {
    "cross_entropy": "cross_entropy: p − y",
    "mse": "mse, after a softmax: (diag p − p pᵀ)(p − y)",
    "mse_logits": "mse_logits, no softmax: z − y",
}


def gradients_figure(
    curves: pd.DataFrame, arms: pd.DataFrame, looks: Looks | None = None
) -> Figure | None:
    """2-norm of the gradient of one image's loss in the network's outputs.

    Measured, over epochs; and in closed form for the arms whose loss is a known one.
    """
    measured = [column for column in MEASURED if is_known(curves, column)]
    present = set() if arms.empty else {arm.split(", ")[0] for arm in arms["arm"]}
    losses = [loss for loss in GRADIENT_NORMS if loss in present]
    closed = ["closed"] * max(len(measured), 1) if losses else []
    mosaic: list[Any] = [row for row in (measured, closed) if row]
    if not mosaic:
        return None
    figure = blank(0.1 + 2.9 * len(mosaic))
    panels = figure.subplot_mosaic(mosaic)
    for column in measured:
        _draw_measured(panels[column], curves, column, looks)
    if losses:
        _draw_closed_forms(panels["closed"], losses)
    if measured:
        explain_curves(figure, curves, looks)
    return figure


def _draw_measured(axes: Axes, curves: pd.DataFrame, column: str, looks: Looks | None) -> None:
    seen: list[float] = []
    for arm, style in styles(curves["arm"], looks).items():
        table = draw_curve(axes, curves[curves["arm"] == arm], column, style)
        seen += [*table["mean"], *table["low"]]
    scale_positive(axes, seen)
    scale_epochs(axes)
    axes.set_ylabel("gradient at the outputs, 2-norm")
    tidy(axes)
    entitle(axes, *MEASURED[column])


def _draw_closed_forms(axes: Axes, losses: list[str]) -> None:
    points = np.array(ANNOTATED)
    for loss in losses:
        norms, look = GRADIENT_NORMS[loss], KNOWN[loss]
        axes.plot(GAPS, norms(GAPS), color=look.color, linewidth=1.8, label=FORMULAS[loss])
        axes.plot(points, norms(points), ls="", marker=look.marker, color=look.color, ms=5)
        for gap, norm in zip(ANNOTATED, norms(points), strict=True):
            axes.annotate(
                _digits(norm), (gap, norm), (0, 6 if loss == "mse_logits" else -13),
                textcoords="offset points", ha="right" if gap == GAPS[-1] else "center",
                fontsize=SMALL, color=INK,
            )  # fmt: skip
    scale_positive(axes, np.concatenate([GRADIENT_NORMS[loss](GAPS) for loss in losses]))
    axes.margins(x=0.02)
    axes.set_ylim(axes.get_ylim()[0] / 10, axes.get_ylim()[1] * 3)
    axes.set_xlabel("gap: by how much the wrong class's output is above all others")
    axes.set_ylabel("gradient at the outputs,\n2-norm")
    tidy(axes)
    axes.legend(loc="lower left", frameon=False, fontsize=SMALL + 0.5, labelcolor=INK)
    entitle(axes, "One confidently wrong image of 10 classes", "closed form, not measured")


def _digits(norm: float) -> str:
    return f"{norm:.3f}" if norm >= 1 else plain(float(f"{norm:.3g}"))
