"""Why one loss learns from its errors and another does not: gradients at the network's outputs."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from runlab.analysis import palette
from runlab.analysis.figures.canvas import FONT_SIZE, apply_style, new_figure, set_title
from runlab.analysis.figures.learning_curves import (
    add_curve_legend,
    draw_curve,
    has_values,
    scale_epochs,
)
from runlab.analysis.figures.scales import scale_positive, tick_label
from runlab.analysis.greys import INK
from runlab.analysis.learning_rates import Rate
from runlab.analysis.palette import Style, select_styles

MEASURED = {
    "train/output_gradient_norm": ("While training", "mean over the images of a batch"),
    "val/output_gradient_norm_wrong": (
        "On what it gets wrong", "mean over misclassified validation images"
    ),
}  # fmt: skip
"""Title and note of the panel, by the column of the curves."""

FORMULAS = {
    "cross_entropy": "cross_entropy: p − y",
    "mse": "mse, after a softmax: (diag p − p pᵀ)(p − y)",
    "mse_logits": "mse_logits, no softmax: z − y",
}

CLASSES = 10
WRONG, TRUE = np.eye(CLASSES)[:2]
GAPS = np.linspace(0, 20, 201)
ANNOTATED_GAPS = (10.0, 20.0)

Array = NDArray[np.float64]


def gradients_figure(
    curves: pd.DataFrame,
    arms: pd.DataFrame,
    arm_styles: Mapping[str, Style],
    known: Mapping[str, Style],
    rate: Rate | None,
) -> Figure | None:
    """2-norm of the gradient of one image's loss in the network's outputs.

    Measured, over epochs; and in closed form for the arms whose loss is one of the three in
    `GRADIENT_NORMS`. `known` has the styles that the configuration declares, by loss.
    """
    measured = [column for column in MEASURED if has_values(curves, column)]
    present = set() if arms.empty else {arm.split(", ")[0] for arm in arms["arm"]}
    losses = [loss for loss in GRADIENT_NORMS if loss in present]
    closed = ["closed"] * max(len(measured), 1) if losses else []
    mosaic: list[Any] = [row for row in (measured, closed) if row]
    if not mosaic:
        return None
    figure = new_figure(0.1 + 2.9 * len(mosaic))
    panels = figure.subplot_mosaic(mosaic)
    for column in measured:
        _draw_measured(panels[column], curves, column, arm_styles)
    if losses:
        _draw_closed_forms(panels["closed"], losses, palette.arm_styles(losses, known))
    if measured:
        add_curve_legend(figure, curves, arm_styles, rate)
    return figure


def _draw_measured(
    axes: Axes, curves: pd.DataFrame, column: str, arm_styles: Mapping[str, Style]
) -> None:
    seen: list[float] = []
    for arm, style in select_styles(curves["arm"], arm_styles).items():
        curve = draw_curve(axes, curves[curves["arm"] == arm], column, style)
        seen += [*curve["mean"], *curve["low"]]
    scale_positive(axes, seen)
    scale_epochs(axes, curves.dropna(subset=column)["epoch"])
    axes.set_ylabel("gradient at the outputs, 2-norm")
    apply_style(axes)
    set_title(axes, *MEASURED[column])


def _draw_closed_forms(axes: Axes, losses: list[str], styles: Mapping[str, Style]) -> None:
    for loss in losses:
        _draw_closed_form(axes, loss, styles[loss])
    scale_positive(axes, np.concatenate([GRADIENT_NORMS[loss](GAPS) for loss in losses]))
    axes.margins(x=0.02)
    axes.set_ylim(axes.get_ylim()[0] / 10, axes.get_ylim()[1] * 3)
    axes.set_xticks(range(0, 21, 5))
    axes.set_xlabel("gap: by how much the wrong class's output is above all others")
    axes.set_ylabel("gradient at the outputs,\n2-norm")
    apply_style(axes)
    axes.legend(loc="lower left", frameon=False, fontsize=FONT_SIZE + 0.5, labelcolor=INK)
    set_title(axes, "One confidently wrong image of 10 classes", "closed form, not measured")


def _draw_closed_form(axes: Axes, loss: str, style: Style) -> None:
    norms, points = GRADIENT_NORMS[loss], np.array(ANNOTATED_GAPS)
    axes.plot(GAPS, norms(GAPS), color=style.color, linewidth=1.8, label=FORMULAS[loss])
    axes.plot(points, norms(points), ls="", marker=style.marker, color=style.color, ms=5)
    for gap, norm in zip(ANNOTATED_GAPS, norms(points), strict=True):
        axes.annotate(
            _three_digits(norm), (gap, norm), (0, 6 if loss == "mse_logits" else -13),
            textcoords="offset points", ha="right" if gap == GAPS[-1] else "center",
            fontsize=FONT_SIZE, color=INK,
        )  # fmt: skip


def _three_digits(norm: float) -> str:
    return f"{norm:.3f}" if norm >= 1 else tick_label(float(f"{norm:.3g}"))


# The closed forms are those of one confidently wrong image: of its ten outputs z, that of a wrong
# class is `gap`, that of the true class and of all others is 0. p = softmax(z), y is one-hot.


def cross_entropy(gap: Array) -> Array:
    """2-norm of p − y: towards √2 as the gap grows."""
    return np.linalg.norm(_probabilities(gap) - TRUE, axis=-1)


def mse(gap: Array) -> Array:
    """2-norm of (diag p − p pᵀ)(p − y), the gradient of ½‖p − y‖²: towards 0 as the gap grows."""
    p = _probabilities(gap)
    weighted = p * (p - TRUE)
    return np.linalg.norm(weighted - p * weighted.sum(axis=-1, keepdims=True), axis=-1)


def mse_logits(gap: Array) -> Array:
    """2-norm of z − y, the gradient of ½‖z − y‖²: as large as the gap."""
    return np.linalg.norm(_outputs(gap) - TRUE, axis=-1)


GRADIENT_NORMS: dict[str, Callable[[Array], Array]] = {
    "cross_entropy": cross_entropy,
    "mse": mse,
    "mse_logits": mse_logits,
}


def _outputs(gap: Array) -> Array:
    """[..., classes]"""
    return np.asarray(gap, dtype=float)[..., None] * WRONG


def _probabilities(gap: Array) -> Array:
    outputs = _outputs(gap)
    weights = np.exp(outputs - outputs.max(axis=-1, keepdims=True))
    return weights / weights.sum(axis=-1, keepdims=True)
