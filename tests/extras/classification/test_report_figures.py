"""Figures of the predictions and of gradients by their properties; and at the edges."""

import numpy as np
import pytest
import torch

from losslab.losses import MSE, CrossEntropy, MSELogits
from runlab.analysis.palette import arm_styles
from runlab.extras.classification.report.figures import confusion_figure, reliability_figure
from runlab.extras.classification.report.gradients import GRADIENT_NORMS, gradients_figure, mse
from tests.analysis.drawings import assert_greys_follow_the_page, drawn, to_svg, words
from tests.analysis.tables import ARMS, KNOWN, RATE, STYLES
from tests.extras.classification import report_tables as tables

LONG = tuple(
    f"{loss}, model={model}, widths=[512, 256, 128], a_rather_long_name=$7"
    for loss in ("mse", "mse_logits", "focal")
    for model in ("cnn", "mlp")
)


@pytest.mark.long
@pytest.mark.parametrize(("arms", "seeds"), [(("mse",), 1), (("mse", "focal"), 2), (LONG, 2)])
def test_every_figure_is_drawn_in_greys_that_follow_the_page(
    arms: tuple[str, ...], seeds: int
) -> None:
    styles, arms_table = arm_styles(arms, KNOWN), tables.arms_table(arms, seeds)
    for figure in (
        reliability_figure(tables.reliability(arms, seeds), arms_table, styles),
        confusion_figure(tables.confusion(arms, seeds), styles),
        gradients_figure(tables.curves(arms, seeds), arms_table, styles, KNOWN, RATE),
    ):
        assert_greys_follow_the_page(to_svg(drawn(figure)))


def test_an_empty_table_has_no_figure() -> None:
    arms = tables.arms_table(ARMS, 3)
    assert reliability_figure(tables.reliability(ARMS, 3)[:0], arms, STYLES) is None
    assert confusion_figure(tables.confusion(ARMS, 3)[:0], STYLES) is None
    assert gradients_figure(tables.curves(ARMS, 3)[:0], arms[:0], STYLES, KNOWN, RATE) is None


def test_reliability_names_the_calibration_error_and_the_formula() -> None:
    reliability, arms = tables.reliability(ARMS, 3), tables.arms_table(ARMS, 3)
    figure = drawn(reliability_figure(reliability, arms, STYLES))
    diagrams = [axes for axes in figure.axes if axes.get_title(loc="left")]
    assert [axes.get_title(loc="left") for axes in diagrams] == list(ARMS)
    note = "ECE 0.0048 [0.0043, 0.0053]\nsoftmax of the outputs"
    assert words(diagrams[0].texts) == [note]
    shares = [sum(bar.get_height() for bar in axes.patches)
              for axes in figure.axes if axes.patches]  # fmt: skip
    assert shares == pytest.approx([100] * 3)


def test_confusion_shows_errors_and_their_sums_but_not_what_is_right() -> None:
    (axes,) = drawn(confusion_figure(tables.confusion(("mse",), 2), STYLES)).axes
    *numbers, note = words(axes.texts)
    assert note == "15 errors (5.26%), mean of 2 runs"
    assert sorted(numbers) == sorted(
        ["1.5", "2.5", "1.5", "3.5", "2.5", "3.5", "4.0", "5.0", "6.0"]
    )


def test_confusion_of_arms_shares_one_scale_and_many_classes_have_a_bar() -> None:
    few = tables.confusion(ARMS, 2)
    few.loc[few["arm"] == "mse", "images"] *= 2
    meshes = [axes.collections[0] for axes in drawn(confusion_figure(few, STYLES)).axes]
    assert {mesh.get_clim() for mesh in meshes} == {(0, 7)}
    many = tables.confusion(("mse",), 2, classes=13)
    axes, bar = drawn(confusion_figure(many, STYLES)).axes
    assert len(axes.texts) == 1
    assert bar.get_ylabel() == "mean errors of a run"


def test_gradients_leave_out_what_was_not_measured_and_losses_without_closed_form() -> None:
    curves, arms = tables.curves(ARMS, 3), tables.arms_table(ARMS, 3)
    assert len(drawn(gradients_figure(curves, arms, STYLES, KNOWN, RATE)).axes) == 3
    assert len(drawn(gradients_figure(curves[:0], arms, STYLES, KNOWN, RATE)).axes) == 1
    curves, arms = tables.curves(("focal",), 3), tables.arms_table(("focal",), 3)
    styles = arm_styles(("focal",), KNOWN)
    assert len(drawn(gradients_figure(curves, arms, styles, KNOWN, RATE)).axes) == 2
    assert gradients_figure(curves[:0], arms, styles, KNOWN, RATE) is None


def test_closed_forms_are_annotated_with_their_facts() -> None:
    arms = tables.arms_table(("cross_entropy", "mse, model=cnn"), 3)
    (axes,) = drawn(gradients_figure(tables.curves((), 0), arms, {}, KNOWN, RATE)).axes
    facts = ["1.414", "1.414", "4.8·10⁻⁴", "2.2·10⁻⁸"]
    assert [text for text in words(axes.texts) if text] == [*facts, "closed form, not measured"]
    colors = [line.get_color() for line in axes.get_lines()[::2]]
    assert colors == [KNOWN["cross_entropy"].color, KNOWN["mse"].color]


@pytest.mark.parametrize("loss", [CrossEntropy(), MSE(), MSELogits()])
def test_closed_forms_agree_with_autograd(loss: torch.nn.Module) -> None:
    names = {"CrossEntropy": "cross_entropy", "MSE": "mse", "MSELogits": "mse_logits"}
    gaps = [0.0, 1.0, 5.0, 10.0, 20.0]
    norms = []
    for gap in gaps:
        outputs = torch.zeros(1, 10, dtype=torch.float64)
        outputs[0, 0] = gap
        outputs.requires_grad_()
        loss(outputs, torch.tensor([1])).backward()
        assert outputs.grad is not None
        norms.append(outputs.grad.norm().item())
    assert GRADIENT_NORMS[names[type(loss).__name__]](np.array(gaps)) == pytest.approx(norms)


def test_squared_error_behind_a_softmax_lets_go_of_a_confident_error() -> None:
    assert mse(np.array([5.0, 10.0, 20.0])) == pytest.approx([0.0598, 4.8e-4, 2.2e-8], rel=0.02)
