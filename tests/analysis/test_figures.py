"""Figures of cells and curves by their properties; and that all can be drawn at the edges."""

import re
from typing import Any

import numpy as np
import pytest

from runlab.analysis.figures import (
    all_figures,
    confusion_figure,
    gradients_figure,
    grid_figure,
    learning_curves_figure,
    paired_figure,
    reliability_figure,
    sensitivity_figure,
)
from runlab.analysis.figures.scales import logarithmic_ticks, plain
from runlab.analysis.measure import ACCURACY, MEASURES
from runlab.analysis.palette import INK, LINES, MUTED, PAPER, styles
from tests.analysis import tables
from tests.analysis.drawings import drawn, legend, lines, to_svg, words

NAMES = ["sensitivity", "learning_curves", "paired", "reliability", "confusion", "grid"]
LONG = tuple(
    f"{loss}, model={model}, widths=[512, 256, 128], a_rather_long_name=$7"
    for loss in ("cross_entropy", "mse", "mse_logits", "focal")
    for model in ("cnn", "mlp")
)


def test_figures_come_in_the_order_of_the_page() -> None:
    drawn = all_figures(tables.comparison())
    assert list(drawn) == [*NAMES, "gradients"]
    assert all(drawn.values())


@pytest.mark.parametrize(("arms", "seeds"), [(("mse",), 1), (("mse",), 3), (LONG, 2)])
def test_every_figure_of_one_run_and_of_many_long_arms_can_be_drawn(
    arms: tuple[str, ...], seeds: int
) -> None:
    for figure in filter(None, all_figures(tables.comparison(arms, seeds=seeds)).values()):
        figure.draw_without_rendering()


@pytest.mark.parametrize("measure", MEASURES.values(), ids=list(MEASURES))
def test_figures_of_any_measure_without_any_known_value_can_be_drawn(measure: Any) -> None:
    unknown = {"val_mean": np.nan, "val_lowest": np.nan, "val_highest": np.nan, "diverged": 3}
    cells = tables.cells(tables.ARMS, tables.RATES, 3).assign(**unknown)
    for draw in (sensitivity_figure, grid_figure):
        drawn(draw(cells, measure)).draw_without_rendering()


def test_an_empty_table_has_no_figure() -> None:
    full = tables.comparison()
    assert sensitivity_figure(full.cells[:0], ACCURACY) is None
    assert learning_curves_figure(full.curves[:0], ACCURACY) is None
    assert paired_figure(full.paired[:0], full.differences[:0], 0.2, ACCURACY) is None
    assert reliability_figure(full.reliability[:0], full.arms) is None
    assert confusion_figure(full.confusion[:0]) is None
    assert grid_figure(full.cells[:0], ACCURACY) is None
    assert gradients_figure(full.curves[:0], full.arms[:0]) is None


def test_figures_use_no_other_grey_than_those_that_follow_the_page() -> None:
    greys = {INK, MUTED, LINES, PAPER}
    for figure in filter(None, all_figures(tables.comparison(("mse", "focal"), seeds=2)).values()):
        svg = to_svg(figure)
        texts = re.findall(r'<g id="text_\d+">\s*(?:<!--.*?-->\s*)?<g ([^>]*)>', svg)
        assert texts
        assert all("fill: #" in attributes for attributes in texts)  # else they would be black
        assert {color for color in re.findall(r"#(?:[0-9a-f]{2}){3}", svg) if _grey(color)} <= greys


def _grey(color: str) -> bool:
    red, green, blue = (int(color[place : place + 2], 16) for place in (1, 3, 5))
    return max(red, green, blue) - min(red, green, blue) < 12


def test_sensitivity_has_a_line_an_arm_in_its_colour_and_counts_diverged_runs() -> None:
    cells = tables.cells(tables.ARMS, tables.RATES, 3)
    main, below = drawn(sensitivity_figure(cells, ACCURACY)).axes
    assert {label: line.get_color() for label, line in lines(main).items()} == {
        arm: style.color for arm, style in styles(tables.ARMS).items()
    }
    means = cells.loc[cells["arm"] == "mse", "val_mean"].tolist()
    assert np.asarray(lines(main)["mse"].get_ydata()).tolist() == means
    assert words(below.texts) == ["3/3"] * 3
    assert main.get_xscale() == "log"


def test_the_band_goes_no_further_than_any_run() -> None:
    cells = tables.cells(("mse",), (0.1, 0.2), 10).assign(val_mean=88.0, val_sd=28.0)
    cells = cells.assign(val_lowest=10.0, val_highest=97.0)  # the mean + sd would be 116%
    main = drawn(sensitivity_figure(cells, ACCURACY)).axes[0]
    assert main.get_ylim()[1] < 98.5


def test_only_accuracy_is_spaced_by_its_error() -> None:
    cells = tables.cells(tables.ARMS, tables.RATES, 3)
    scales = [drawn(sensitivity_figure(cells, measure)).axes[0].get_yscale()
              for measure in (ACCURACY, MEASURES["nll"])]  # fmt: skip
    assert scales == ["function", "log"]


def test_arms_that_share_their_only_learning_rate_are_drawn_apart() -> None:
    main = drawn(sensitivity_figure(tables.cells(tables.ARMS, (0.2,), 3), ACCURACY)).axes[0]
    places = [float(line.get_xdata()[0]) for line in lines(main).values()]
    assert places[0] < 0.2 == places[1] < places[2] < 0.25


def test_learning_curves_are_means_with_n_in_the_legend() -> None:
    figure = drawn(learning_curves_figure(tables.curves(tables.ARMS, 3), ACCURACY))
    accuracy, nll = figure.axes
    assert np.asarray(lines(accuracy)["mse"].get_ydata()) == pytest.approx([91.1, 93.1, 95.1])
    assert nll.get_ylabel() == "validation NLL"
    assert nll.get_yscale() == "log"
    assert legend(figure)[1].replace("\N{NBSP}", " ") == "mse (learning rate 0.2, n = 3)"


def test_a_run_that_ended_early_is_marked_and_what_follows_is_faint() -> None:
    curves = tables.curves(("mse",), 3)
    curves = curves[(curves["seed"] != 2) | (curves["epoch"] < 3)]
    figure = drawn(learning_curves_figure(curves, ACCURACY))
    faint, whole, cross = figure.axes[0].get_lines()
    assert np.asarray(whole.get_ydata())[:2] == pytest.approx([92.1, 94.1])
    assert np.isnan(whole.get_ydata()[2])
    assert np.asarray(faint.get_xydata()) == pytest.approx(np.array([[2, 94.1], [3, 96.05]]))
    assert np.asarray(cross.get_xydata()).tolist() == [[2, 94.2]]
    assert "a run ended; from there, the mean of the rest" in legend(figure)


def test_learning_curves_leave_out_what_was_not_kept() -> None:
    curves = tables.curves(("mse",), 3).drop(columns="val/nll")
    assert len(drawn(learning_curves_figure(curves, ACCURACY)).axes) == 1
    assert learning_curves_figure(curves, MEASURES["nll"]) is not None
    assert learning_curves_figure(curves.assign(**{"val/accuracy": np.nan}), ACCURACY) is None


def test_grid_has_every_cell_and_outlines_the_chosen_ones() -> None:
    cells = tables.cells(("cross_entropy", "mse"), tables.RATES, 3)
    (axes,) = drawn(grid_figure(cells, ACCURACY)).axes
    row = ["95.00", "97.00", "91.00", "†3"]
    assert words(axes.texts) == [*row, "94.00", "96.00", "90.00", "†3"]
    assert [(patch.get_x(), patch.get_y()) for patch in axes.patches] == [
        (0.53, -0.47),
        (0.53, 0.53),
    ]
    assert words(axes.get_xticklabels()) == ["0.1", "0.2", "0.5"]


def test_many_learning_rates_of_a_grid_are_written_upright() -> None:
    cells = tables.cells(("mse",), tuple(0.010001 * step for step in range(1, 41)), 1)
    (axes,) = drawn(grid_figure(cells, ACCURACY)).axes
    assert {label.get_rotation() for label in axes.get_xticklabels()} == {90.0}


def test_grid_of_one_learning_rate_has_the_setting_with_most_values_as_columns() -> None:
    arms = [f"{loss}, width={width}" for loss in ("cross_entropy", "mse") for width in (8, 16, 32)]
    cells = tables.cells(tuple(arms), (0.2,), 3)
    cells["setting/width"] = [arm.split("=")[1] for arm in arms]
    (axes,) = drawn(grid_figure(cells, ACCURACY)).axes
    assert axes.get_xlabel() == "width"
    assert words(axes.get_xticklabels()) == ["8", "16", "32"]
    assert words(axes.get_yticklabels()) == ["cross_entropy", "mse"]


def test_logarithmic_ticks_are_few_and_round() -> None:
    assert logarithmic_ticks(0.01, 0.5) == pytest.approx([0.01, 0.02, 0.05, 0.1, 0.2, 0.5])
    assert logarithmic_ticks(1e-3, 1e2) == pytest.approx([1e-3, 1e-2, 1e-1, 1, 10, 100])
    assert logarithmic_ticks(0.9, 1.1) == pytest.approx([0.9, 0.95, 1.0, 1.05, 1.1])


def test_numbers_on_axes_are_short() -> None:
    assert list(map(plain, (0.05, -10.0, 0.0, 5e-7, 1e-9))) == [
        "0.05",
        "−10",
        "0",
        "5·10⁻⁷",
        "10⁻⁹",
    ]
