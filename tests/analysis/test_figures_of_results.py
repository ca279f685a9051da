"""Figures of the test set and of gradients: what they show, by their properties."""

import numpy as np
import pytest
import torch

from losslab.losses import MSE, CrossEntropy, MSELogits
from runlab.analysis.figures import (
    confusion_figure,
    gradients_figure,
    paired_figure,
    reliability_figure,
)
from runlab.analysis.figures.saturation import GRADIENT_NORMS, mse
from runlab.analysis.measure import ACCURACY, MEASURES
from runlab.analysis.palette import styles
from tests.analysis import tables
from tests.analysis.drawings import dots, drawn, legend, words

LOSSES = ("cross_entropy", "mse", "mse_logits", "focal", "hinge")


def test_every_paired_seed_is_a_dot_in_the_colour_of_the_arm_that_did_better() -> None:
    arms = ("cross_entropy", "mse")
    shown = tables.paired(arms, 5), tables.differences(arms, 5)
    (axes,) = drawn(paired_figure(*shown, 0.2, ACCURACY)).axes
    looks = styles(arms)
    assert dots(axes)[:2] == [
        (looks["cross_entropy"].color.lower(), 4),
        (looks["mse"].color.lower(), 1),
    ]
    (axes,) = drawn(paired_figure(*shown, 0.2, MEASURES["nll"])).axes
    assert [count for _, count in dots(axes)[:2]] == [1, 4]


def test_the_margin_is_a_band_and_named() -> None:
    arms = ("cross_entropy", "mse")
    shown = tables.paired(arms, 5), tables.differences(arms, 5)
    figure = drawn(paired_figure(*shown, 0.2, ACCURACY))
    (band,) = figure.axes[0].patches
    assert [band.get_x(), band.get_width()] == [-0.2, 0.4]
    assert "within ±0.2 points: does not matter" in legend(figure)
    assert not drawn(paired_figure(*shown, None, ACCURACY)).axes[0].patches


def test_seeds_are_named_up_to_20_of_them_and_pairs_shown_up_to_6() -> None:
    for seeds, named in ((20, [*map(str, range(20)), "mean"]), (21, ["mean"])):
        few = tables.paired(LOSSES[:4], seeds), tables.differences(LOSSES[:4], seeds)
        figure = drawn(paired_figure(*few, 0.2, ACCURACY))
        assert words(figure.axes[0].get_yticklabels()) == named
    many = tables.paired(LOSSES[:5], 2), tables.differences(LOSSES[:5], 2)
    figure = drawn(paired_figure(*many, 0.2, ACCURACY))
    assert len(figure.axes) == 6
    assert "the first 6 of 10 pairs" in figure.get_supxlabel()


def test_one_diverged_seed_does_not_hide_the_others() -> None:
    arms = ("cross_entropy", "mse")
    paired = tables.paired(arms, 5)
    paired.loc[0, "difference"] = -87.0
    figure = drawn(paired_figure(paired, tables.differences(arms, 5), 0.2, ACCURACY))
    assert figure.axes[0].get_xscale() == "symlog"
    assert "−10" in words(figure.axes[0].get_xticklabels())


def test_reliability_names_the_calibration_error_and_the_mapping() -> None:
    arms = tables.arms_table(tables.ARMS, 3)
    figure = drawn(reliability_figure(tables.reliability(tables.ARMS, 3), arms))
    diagrams = [axes for axes in figure.axes if axes.get_title(loc="left")]
    assert [axes.get_title(loc="left") for axes in diagrams] == list(tables.ARMS)
    note = "ECE 0.0048 [0.0043, 0.0053]\nsoftmax of the outputs"
    assert words(diagrams[0].texts) == [note]
    shares = [sum(bar.get_height() for bar in axes.patches)
              for axes in figure.axes if axes.patches]  # fmt: skip
    assert shares == pytest.approx([100] * 3)


def test_confusion_shows_errors_and_their_sums_but_not_what_is_right() -> None:
    (axes,) = drawn(confusion_figure(tables.confusion(("mse",), 2))).axes
    *numbers, note = words(axes.texts)
    assert note == "15 errors (5.26%), mean of 2 runs"
    assert sorted(numbers) == sorted(["1.5", "2.5", "1.5", "3.5", "2.5", "3.5", "4", "5", "6"])


def test_confusion_of_arms_shares_one_scale_and_many_classes_have_a_bar() -> None:
    few = tables.confusion(tables.ARMS, 2)
    few.loc[few["arm"] == "mse", "images"] *= 2
    meshes = [axes.collections[0] for axes in drawn(confusion_figure(few)).axes]
    assert {mesh.get_clim() for mesh in meshes} == {(0, 7)}
    axes, bar = drawn(confusion_figure(tables.confusion(("mse",), 2, classes=13))).axes
    assert len(axes.texts) == 1
    assert bar.get_ylabel() == "mean errors of a run"


def test_gradients_leave_out_what_was_not_measured_and_losses_without_closed_form() -> None:
    curves, arms = tables.curves(tables.ARMS, 3), tables.arms_table(tables.ARMS, 3)
    assert len(drawn(gradients_figure(curves, arms)).axes) == 3
    assert len(drawn(gradients_figure(curves[:0], arms)).axes) == 1
    unknown = tables.curves(("focal",), 3), tables.arms_table(("focal",), 3)
    assert len(drawn(gradients_figure(*unknown)).axes) == 2
    assert gradients_figure(unknown[0][:0], unknown[1]) is None


def test_closed_forms_are_annotated_with_their_facts() -> None:
    arms = tables.arms_table(("cross_entropy", "mse, model=cnn"), 3)
    (axes,) = drawn(gradients_figure(tables.curves((), 0), arms)).axes
    facts = ["1.370", "1.414", "1.414", "0.0598", "4.8·10⁻⁴", "2.2·10⁻⁸"]
    assert [text for text in words(axes.texts) if text] == [*facts, "closed form, not measured"]


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
