"""The figure of paired differences by its properties."""

import pandas as pd
import pytest
from matplotlib.figure import Figure

from runlab.analysis.figures import paired_figure
from runlab.analysis.palette import arm_styles
from runlab.analysis.verdicts import Verdict
from tests.analysis import tables
from tests.analysis.drawings import dots, drawn, legend, words
from tests.analysis.tables import KNOWN, MEASURES, STYLES

PRIMARY, NLL = MEASURES[:2]
ARMS = ("cross_entropy", "mse")
LOSSES = ("cross_entropy", "mse", "mse_logits", "focal", "hinge")


@pytest.fixture(scope="module")
def figure() -> Figure:
    paired, differences = tables.paired(ARMS, 5), tables.differences(ARMS, 5)
    return drawn(paired_figure(paired, differences, 0.2, PRIMARY, STYLES))


def draw(arms: tuple[str, ...], seeds: int) -> Figure:
    paired, differences = tables.paired(arms, seeds), tables.differences(arms, seeds)
    return drawn(paired_figure(paired, differences, 0.2, PRIMARY, arm_styles(LOSSES, KNOWN)))


def test_every_paired_seed_is_a_dot_in_the_colour_of_the_arm_that_did_better(
    figure: Figure,
) -> None:
    assert dots(figure.axes[0])[:2] == [
        (STYLES["cross_entropy"].color.lower(), 4),
        (STYLES["mse"].color.lower(), 1),
    ]
    shown = tables.paired(ARMS, 5), tables.differences(ARMS, 5)
    (axes,) = drawn(paired_figure(*shown, None, NLL, STYLES)).axes
    assert [count for _, count in dots(axes)[:2]] == [1, 4]
    assert not axes.patches  # no margin, no band


def test_the_better_arm_comes_first_as_in_the_conclusion() -> None:
    paired, differences = tables.paired(ARMS, 5), tables.differences(ARMS, 5)
    other = differences.assign(verdict=Verdict.OTHER_BETTER)
    (axes,) = drawn(paired_figure(paired, other, 0.2, PRIMARY, STYLES)).axes
    assert axes.get_title(loc="left") == "mse − cross_entropy"
    (first,) = drawn(paired_figure(paired, differences, 0.2, PRIMARY, STYLES)).axes
    (mean,), (turned,) = (
        [m for m in a.get_lines() if m.get_marker() == "D"] for a in (first, axes)
    )
    assert turned.get_xdata().tolist() == [-value for value in mean.get_xdata().tolist()]
    assert dots(axes)[:2] == dots(first)[:2]  # who did better is as it was


def test_the_margin_is_a_band_and_named(figure: Figure) -> None:
    (band,) = figure.axes[0].patches
    assert [band.get_x(), band.get_width()] == [-0.2, 0.4]
    assert "within ±0.2 points" in legend(figure)


@pytest.mark.parametrize(("seeds", "named"), [(20, [*map(str, range(20)), "mean"]), (21, ["mean"])])
def test_seeds_are_named_up_to_20_of_them(seeds: int, named: list[str]) -> None:
    assert words(draw(ARMS, seeds).axes[0].get_yticklabels()) == named


def test_pairs_are_shown_up_to_6_of_them() -> None:
    figure = draw(LOSSES, 2)
    assert len(figure.axes) == 6
    assert "the first 6 of 10 pairs" in figure.get_supxlabel()


def test_one_diverged_seed_does_not_hide_the_others() -> None:
    paired: pd.DataFrame = tables.paired(ARMS, 5)
    paired.loc[0, "difference"] = -87.0
    figure = drawn(paired_figure(paired, tables.differences(ARMS, 5), 0.2, PRIMARY, STYLES))
    assert figure.axes[0].get_xscale() == "symlog"
    assert "−10" in words(figure.axes[0].get_xticklabels())
