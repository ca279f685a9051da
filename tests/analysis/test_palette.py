"""Styles of arms: those that the configuration declares, and others for the rest."""

import pytest

from runlab.analysis.palette import Style, arm_styles, known_styles, select_styles
from tests.analysis.tables import KNOWN


def test_an_arm_keeps_its_style_in_other_company() -> None:
    alone = arm_styles(["mse"], KNOWN) | arm_styles(["focal, model=cnn"], KNOWN)
    together = arm_styles(["focal, model=cnn", "mse", "cross_entropy"], KNOWN)
    assert {arm: together[arm] for arm in alone} == alone


def test_arms_differ_in_style() -> None:
    arms = [f"mse, width={width}" for width in range(15)]
    assert len(set(arm_styles([*arms, "mse", "cross_entropy"], KNOWN).values())) == 17


def test_known_arms_come_first_in_their_order_and_numbers_by_value() -> None:
    arms = ["focal", "mse, width=128", "zeta", "mse, width=64", "cross_entropy"]
    assert list(arm_styles(arms, KNOWN)) == [
        "cross_entropy", "mse, width=64", "mse, width=128", "focal", "zeta",
    ]  # fmt: skip


def test_styles_of_some_arms_are_in_the_order_of_all() -> None:
    styles = arm_styles(["focal", "mse", "cross_entropy"], KNOWN)
    assert list(select_styles(["focal", "mse", "focal"], styles)) == ["mse", "focal"]


def test_known_styles_are_read_from_the_configuration() -> None:
    assert known_styles({"mse": {"color": "#D55E00", "marker": "s"}}) == {
        "mse": Style("#D55E00", "s", "-")
    }


@pytest.mark.parametrize(
    "entry",
    [
        "#D55E00",
        {"color": "#D55E00"},
        {"color": "#D55E00", "marker": "s", "width": 2},
        {"color": "red", "marker": "s"},
        {"color": "#D55E00", "marker": "square"},
        {"color": "#D55E00", "marker": "s", "dashes": "dashed-dotted"},
        {"color": "#D55E00", "marker": ["s"]},
    ],
)
def test_what_is_no_style_is_told_with_its_key(entry: object) -> None:
    with pytest.raises(ValueError, match=r"expected comparison\.arm_styles\.mse with a color"):
        known_styles({"mse": entry})


def test_a_style_is_found_however_its_arms_value_was_written() -> None:
    entry = {"color": "#D55E00", "marker": "s"}
    for written in ("mse, width=1, tag=a", "mse, width=1.0, tag=a", "mse, width=1e0, tag=a"):
        assert list(known_styles({written: entry})) == ["mse, width=1, tag=a"]
