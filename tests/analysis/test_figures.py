"""Figures of cells and curves by their properties; and that all can be drawn at the edges."""

import numpy as np
import pytest
from matplotlib.figure import Figure

from runlab.analysis.figures import (
    grid_figure,
    learning_curves_figure,
    paired_figure,
    sensitivity_figure,
)
from runlab.analysis.palette import arm_styles
from runlab.measure import Measure
from tests.analysis import tables
from tests.analysis.drawings import (
    assert_greys_follow_the_page,
    drawn,
    legend,
    lines,
    to_svg,
    words,
)
from tests.analysis.tables import KNOWN, MEASURES, RATE, STYLES

PRIMARY, NLL = MEASURES[:2]
LONG = tuple(
    f"{loss}, model={model}, widths=[512, 256, 128], a_rather_long_name=$7"
    for loss in ("mse", "mse_logits", "focal")
    for model in ("cnn", "mlp")
)


def draw_all(arms: tuple[str, ...], seeds: int) -> list[Figure | None]:
    cells, curves = tables.cells(arms, tables.RATES, seeds), tables.curves(arms, seeds)
    paired, differences = tables.paired(arms, seeds), tables.differences(arms, seeds)
    styles = arm_styles(arms, KNOWN)
    return [
        sensitivity_figure(cells, PRIMARY, styles, RATE),
        learning_curves_figure(curves, PRIMARY, MEASURES, styles, RATE),
        paired_figure(paired, differences, 0.2, PRIMARY, styles),
        grid_figure(cells, PRIMARY, styles, RATE),
    ]


@pytest.fixture(scope="module")
def sensitivity() -> Figure:
    cells = tables.cells(tables.ARMS, tables.RATES, 3)
    return drawn(sensitivity_figure(cells, PRIMARY, STYLES, RATE))


@pytest.mark.long
@pytest.mark.parametrize(("arms", "seeds"), [(("mse",), 1), (("mse", "focal"), 2), (LONG, 2)])
def test_every_figure_is_drawn_in_greys_that_follow_the_page(
    arms: tuple[str, ...], seeds: int
) -> None:
    figures = [figure for figure in draw_all(arms, seeds) if figure is not None]
    assert len(figures) == (4 if len(arms) > 1 else 3)  # one arm has no pair
    for figure in figures:
        assert_greys_follow_the_page(to_svg(figure))


@pytest.mark.parametrize("measure", MEASURES, ids=lambda measure: measure.name)
def test_figures_of_any_measure_without_any_known_value_can_be_drawn(measure: Measure) -> None:
    unknown = {"val_mean": np.nan, "val_lowest": np.nan, "val_highest": np.nan, "diverged": 3}
    cells = tables.cells(tables.ARMS, tables.RATES, 3).assign(**unknown)
    for draw in (sensitivity_figure, grid_figure):
        drawn(draw(cells, measure, STYLES, RATE)).draw_without_rendering()


def test_an_empty_table_has_no_figure() -> None:
    cells, curves = tables.cells(tables.ARMS, tables.RATES, 3), tables.curves(tables.ARMS, 3)
    paired, differences = tables.paired(tables.ARMS, 3), tables.differences(tables.ARMS, 3)
    assert sensitivity_figure(cells[:0], PRIMARY, STYLES, RATE) is None
    assert learning_curves_figure(curves[:0], PRIMARY, MEASURES, STYLES, RATE) is None
    assert paired_figure(paired[:0], differences[:0], 0.2, PRIMARY, STYLES) is None
    assert grid_figure(cells[:0], PRIMARY, STYLES, RATE) is None


def test_sensitivity_has_a_line_an_arm_in_its_colour_and_counts_diverged_runs(
    sensitivity: Figure,
) -> None:
    cells = tables.cells(tables.ARMS, tables.RATES, 3)
    main, below = sensitivity.axes
    assert {label: line.get_color() for label, line in lines(main).items()} == {
        arm: style.color for arm, style in STYLES.items()
    }
    means = cells.loc[cells["arm"] == "mse", "val_mean"].tolist()
    assert np.asarray(lines(main)["mse"].get_ydata()).tolist() == means
    assert words(below.texts) == ["3/3"] * 3
    assert main.get_xscale() == "log"


def test_the_band_goes_no_further_than_any_run() -> None:
    cells = tables.cells(("mse",), (0.1, 0.2), 10).assign(val_mean=88.0, val_sd=28.0)
    cells = cells.assign(val_lowest=10.0, val_highest=97.0)  # the mean + sd would be 116%
    main = drawn(sensitivity_figure(cells, PRIMARY, STYLES, RATE)).axes[0]
    assert main.get_ylim()[1] < 98.5


def test_only_a_measure_with_a_best_value_is_spaced_by_its_error(sensitivity: Figure) -> None:
    cells = tables.cells(tables.ARMS, tables.RATES, 3)
    assert sensitivity.axes[0].get_yscale() == "function"
    assert sensitivity.axes[0].get_ylabel() == "validation accuracy, %\n(spaced by log error)"
    other = drawn(sensitivity_figure(cells, NLL, STYLES, RATE))
    assert other.axes[0].get_yscale() == "log"
    assert other.axes[0].get_ylabel() == "validation NLL"


def test_arms_that_share_their_only_learning_rate_are_drawn_apart() -> None:
    cells = tables.cells(tables.ARMS, (0.2,), 3)
    main = drawn(sensitivity_figure(cells, PRIMARY, STYLES, RATE)).axes[0]
    places = [float(line.get_xdata()[0]) for line in lines(main).values()]
    assert places[0] < 0.2 == places[1] < places[2] < 0.25


def test_learning_curves_are_means_with_n_in_the_legend() -> None:
    curves = tables.curves(tables.ARMS, 3)
    figure = drawn(learning_curves_figure(curves, PRIMARY, MEASURES, STYLES, RATE))
    primary, nll = figure.axes
    assert np.asarray(lines(primary)["mse"].get_ydata()) == pytest.approx([91.1, 93.1, 95.1])
    assert nll.get_ylabel() == "validation NLL"
    assert nll.get_yscale() == "log"
    assert legend(figure)[1].replace("\N{NBSP}", " ") == "mse (learning rate 0.2, n = 3)"


@pytest.mark.parametrize(
    ("name", "beside"), [("accuracy", "NLL"), ("nll", "accuracy, %"), ("brier", "NLL")]
)
def test_beside_a_measure_is_one_that_all_arms_share_the_unit_of(name: str, beside: str) -> None:
    [measure] = [each for each in MEASURES if each.name == name]
    curves = tables.curves(("mse",), 2).assign(**{"val/brier": 0.1, "val/loss": 0.1})
    figure = drawn(learning_curves_figure(curves, measure, MEASURES, STYLES, RATE))
    first, second = (axes.get_ylabel().split("\n")[0] for axes in figure.axes)
    assert [first, second] == [measure.axis("validation"), f"validation {beside}"]


def test_a_run_that_ended_early_is_marked_and_what_follows_is_faint() -> None:
    curves = tables.curves(("mse",), 3)
    curves = curves[(curves["seed"] != 2) | (curves["epoch"] < 3)]
    figure = drawn(learning_curves_figure(curves, PRIMARY, MEASURES, STYLES, RATE))
    faint, whole, cross = figure.axes[0].get_lines()
    assert np.asarray(whole.get_ydata())[:2] == pytest.approx([92.1, 94.1])
    assert np.isnan(whole.get_ydata()[2])
    assert np.asarray(faint.get_xydata()) == pytest.approx(np.array([[2, 94.1], [3, 96.05]]))
    assert np.asarray(cross.get_xydata()).tolist() == [[2, 94.2]]
    assert "a run ended; from there, the mean of the rest" in legend(figure)


def test_learning_curves_leave_out_what_was_not_kept() -> None:
    curves = tables.curves(("mse",), 3).drop(columns="val/nll")
    assert len(drawn(learning_curves_figure(curves, PRIMARY, MEASURES, STYLES, RATE)).axes) == 1
    assert learning_curves_figure(curves, NLL, MEASURES, STYLES, RATE) is not None
    unknown = curves.assign(**{"val/accuracy": np.nan})
    assert learning_curves_figure(unknown, PRIMARY, MEASURES, STYLES, RATE) is None


def test_grid_has_every_cell_and_outlines_the_chosen_ones() -> None:
    cells = tables.cells(("cross_entropy", "mse"), tables.RATES, 3)
    (axes,) = drawn(grid_figure(cells, PRIMARY, STYLES, RATE)).axes
    row = ["95.00", "97.00", "91.00", "†3"]
    assert words(axes.texts) == [*row, "94.00", "96.00", "90.00", "†3"]
    assert [(patch.get_x(), patch.get_y()) for patch in axes.patches] == [
        (0.53, -0.47),
        (0.53, 0.53),
    ]
    assert words(axes.get_xticklabels()) == ["0.1", "0.2", "0.5"]


def test_many_learning_rates_of_a_grid_are_written_upright() -> None:
    cells = tables.cells(("mse",), tuple(0.010001 * step for step in range(1, 41)), 1)
    (axes,) = drawn(grid_figure(cells, PRIMARY, STYLES, RATE)).axes
    assert {label.get_rotation() for label in axes.get_xticklabels()} == {90.0}


def test_grid_of_one_learning_rate_has_the_setting_with_most_values_as_columns() -> None:
    arms = [f"{loss}, width={width}" for loss in ("cross_entropy", "mse") for width in (8, 16, 32)]
    cells = tables.cells(tuple(arms), (0.2,), 3)
    cells["setting/width"] = [arm.split("=")[1] for arm in arms]
    (axes,) = drawn(grid_figure(cells, PRIMARY, arm_styles(arms, KNOWN), RATE)).axes
    assert axes.get_xlabel() == "width"
    assert words(axes.get_xticklabels()) == ["8", "16", "32"]
    assert words(axes.get_yticklabels()) == ["cross_entropy", "mse"]
