from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from runlab.analysis.compare import compare
from runlab.analysis.comparison import Comparison
from runlab.analysis.markdown import to_markdown
from runlab.analysis.terminal import terminal
from tests.analysis.synthetic import Accuracy, write_run, write_sweep


def compared(sweep: Path, cells: dict[tuple[str, float], list[Accuracy]]) -> Comparison:
    return compare(write_sweep(sweep, cells))


def cell(comparison: Comparison, arm: str, rate: float) -> pd.Series:
    cells = comparison.cells
    return cells[(cells["arm"] == arm) & (cells["learning_rate"] == rate)].iloc[0]


def chosen(comparison: Comparison) -> dict[str, float]:
    return dict(zip(comparison.arms["arm"], comparison.arms["learning_rate"], strict=True))


def paired(better: float, seeds: int, rate: float = 0.1) -> dict[tuple[str, float], list[Accuracy]]:
    """Cross-entropy ahead by `better`, a little more with each seed, between two worse rates."""
    noise = np.linspace(0, 0.001, seeds).tolist()
    cells: dict[tuple[str, float], list[Accuracy]] = {
        (arm, rate * k): [0.9] * seeds for arm in ("mse", "cross_entropy") for k in (0.5, 2)
    }
    cells["mse", rate] = [0.97] * seeds
    cells["cross_entropy", rate] = [0.97 + better + extra for extra in noise]
    return cells


def test_cells_hold_mean_sd_and_n_in_percent(tmp_path: Path) -> None:
    comparison = compared(tmp_path, {("mse", 0.1): [(0.97, 0.95), (0.98, 0.96), (0.99, 0.97)]})
    row = cell(comparison, "mse", 0.1)
    assert row["val_mean"] == pytest.approx(98)
    assert row["val_sd"] == pytest.approx(1)
    assert row["test_mean"] == pytest.approx(96)
    assert (row["n"], row["diverged"]) == (3, 0)


def test_learning_rate_is_chosen_on_validation_not_test(tmp_path: Path) -> None:
    comparison = compared(tmp_path, {("mse", 0.1): [(0.98, 0.90)], ("mse", 0.2): [(0.97, 0.99)]})
    assert chosen(comparison) == {"mse": 0.1}
    assert comparison.arms["test_mean"].tolist() == [90]


def test_learning_rate_is_not_chosen_by_loss(tmp_path: Path) -> None:
    write_run(tmp_path, "mse", 0.1, 0, 0.97, metrics={"val/loss": 0.1})
    write_run(tmp_path, "mse", 0.2, 0, 0.98, metrics={"val/loss": 9.0})
    assert chosen(compare(tmp_path)) == {"mse": 0.2}


def test_of_equal_means_the_smaller_learning_rate_is_chosen(tmp_path: Path) -> None:
    cells: dict[tuple[str, float], list[Accuracy]] = {
        ("mse", 0.5): [0.1, 0.2, 0.3],
        ("mse", 0.2): [0.3, 0.2, 0.1],
        ("mse", 0.1): [0.1],
    }
    assert chosen(compared(tmp_path, cells)) == {"mse": 0.2}


def test_summary_by_hand(tmp_path: Path) -> None:
    comparison = compared(tmp_path, {("mse", 0.1): [0.97, 0.98, 0.99]})
    arm = comparison.arms.iloc[0]
    # t(0.975, 2) = 4.302653 on sd 1: ±2.484138
    assert (arm["test_low"], arm["test_high"]) == pytest.approx((95.515862, 100.484138))
    assert arm["test_samples_half_width"] == pytest.approx(0.2744, abs=1e-4)
    assert (arm["test_nll"], arm["test_brier"], arm["test_ece"]) == pytest.approx((0.2, 0.1, 0.01))


def test_the_test_sets_uncertainty_is_left_out_where_its_size_is_unknown(tmp_path: Path) -> None:
    write_run(tmp_path, "mse", 0.1, 0, metrics={"test/samples": None})
    comparison = compare(tmp_path)
    assert comparison.arms["test_samples_half_width"].isna().all()
    assert "half-width" not in terminal(comparison)


def test_diverged_runs_stay_in_the_denominator(tmp_path: Path) -> None:
    write_run(tmp_path, "mse", 0.1, 0, 0.9)
    write_run(tmp_path, "mse", 0.1, 1, 0.1, status="diverged")
    row = cell(compare(tmp_path), "mse", 0.1)
    assert row["val_mean"] == pytest.approx(50)
    assert (row["n"], row["diverged"]) == (2, 1)


def test_diverged_and_collapsed_runs_are_told_apart_wherever_they_are_counted(tmp_path) -> None:
    for seed in range(6):
        write_run(tmp_path, "mse", 0.1, seed, 0.97)
        write_run(tmp_path, "mse", 0.5, seed, 0.1, status="diverged" if seed else "collapsed")
        write_run(tmp_path, "cross_entropy", 0.1, seed, 0.2, status="collapsed")
    comparison = compare(tmp_path)
    row = cell(comparison, "mse", 0.5)
    assert (row["n"], row["diverged"], row["collapsed"], row["far_off"]) == (6, 5, 1, 0)
    assert row["val_mean"] == pytest.approx(10), "both count by the weights that are tested"
    told = " ".join(terminal(comparison).split())
    assert "†k: k runs diverged; ‡k: k runs collapsed" in told
    assert "†5 ‡1" in told
    assert "every run of cross_entropy collapsed" in comparison.verdict
    page = to_markdown(comparison, {}, {}, [])
    assert "| mse | 0.5 | 6 | 5 | 1 |" in page


@pytest.mark.parametrize(
    ("accuracies", "where"),
    [
        ({0.1: 0.1, 0.2: 0.1, 0.5: 0.13}, "larger learning rates, 1 first, as the largest did"),
        ({0.1: 0.9, 0.2: 0.5, 0.5: 0.1}, "smaller learning rates, 0.05 first, as the smallest"),
        ({0.1: 0.1, 0.2: 0.5, 0.5: 0.1}, "learning rates beside 0.2, which did best"),
        ({0.1: 0.1, 0.2: 0.1, 0.5: 0.1}, "smaller and larger learning rates, 0.05 and 1 first"),
    ],
)
def test_where_every_run_collapsed_what_the_best_weights_reached_says_where_to_look(
    tmp_path: Path, accuracies: dict[float, float], where: str
) -> None:
    for rate, accuracy in accuracies.items():
        write_run(tmp_path, "mse", rate, 0, accuracy, status="collapsed")
    assert f"mse: every run collapsed; add {where}" in " ".join(compare(tmp_path).warnings)


def test_a_diverged_run_without_accuracy_does_not_flatter_its_cell(tmp_path: Path) -> None:
    nothing = {"val/accuracy": None, "test/accuracy": None}
    for seed in (0, 1):
        write_run(tmp_path, "mse", 0.1, seed, 0.8)
    write_run(tmp_path, "mse", 0.2, 0, 0.9)
    write_run(tmp_path, "mse", 0.2, 1, status="diverged", metrics=nothing)
    comparison = compare(tmp_path)
    assert chosen(comparison) == {"mse": 0.1}
    assert np.isnan(cell(comparison, "mse", 0.2)["val_mean"])
    assert any("1 run recorded no val/accuracy" in warning for warning in comparison.warnings)


@pytest.mark.parametrize(("seeds", "p"), [(5, 0.0625), (10, 0.001953125)])
def test_difference_is_paired_over_seeds(tmp_path: Path, seeds: int, p: float) -> None:
    difference = compared(tmp_path, paired(0.003, seeds)).differences.iloc[0]
    assert (difference["arm"], difference["other"]) == ("cross_entropy", "mse")
    assert difference["difference"] == pytest.approx(0.35)
    assert (difference["pairs"], difference["p"], difference["p_holm"]) == (seeds, p, p)


def test_only_common_seeds_are_paired(tmp_path: Path) -> None:
    for seed, accuracy in ((0, 0.9), (1, 0.95), (2, 0.1)):
        write_run(tmp_path, "mse", 0.1, seed, accuracy)
    for seed, accuracy in ((1, 0.96), (0, 0.92), (7, 0.99)):
        write_run(tmp_path, "cross_entropy", 0.1, seed, accuracy)
    difference = compare(tmp_path).differences.iloc[0]
    assert (difference["pairs"], difference["difference"]) == (2, pytest.approx(1.5))
    # differences 1 and 2: sd 0.707107, t(0.975, 1) = 12.706205, half-width 6.353102
    assert (difference["low"], difference["high"]) == pytest.approx((-4.853102, 7.853102))


def test_three_arms_are_corrected_by_holm(tmp_path: Path) -> None:
    cells = paired(0.003, 10) | {("mse_logits", 0.1): list(np.linspace(0.94, 0.95, 10))}
    differences = compared(tmp_path, cells).differences
    assert len(differences) == 3
    assert differences["p_holm"].tolist() == pytest.approx([3 * 2**-9] * 3)


def test_naive_differences_are_at_one_learning_rate_for_both(tmp_path: Path) -> None:
    cells: dict[tuple[str, float], list[Accuracy]] = {
        ("cross_entropy", 0.1): [0.98],
        ("mse", 0.1): [0.90],
        ("mse", 1.0): [0.98],
    }
    comparison = compared(tmp_path, cells)
    assert comparison.differences["difference"].tolist() == pytest.approx([0])
    assert comparison.naive["learning_rate"].tolist() == [0.1]
    assert comparison.naive["difference"].tolist() == pytest.approx([8])
    assert "cross_entropy − mse: +8.00 at 0.1" in terminal(comparison)


def test_unfinished_runs_are_left_out_of_a_partial_sweep(tmp_path: Path) -> None:
    write_run(tmp_path, "mse", 0.1, 0, 0.9)
    for status in ("running", "failed", "interrupted"):
        write_run(tmp_path, "mse", 0.1, 1, name=status, status=status, metrics={"val/accuracy": 0})
    comparison = compare(tmp_path)
    assert cell(comparison, "mse", 0.1)["n"] == 1
    assert "1 run left out as failed: failed" in comparison.warnings


def test_a_sweep_in_which_nothing_ended_says_what_is_there(tmp_path: Path) -> None:
    write_run(tmp_path, "mse", 0.1, 0, status="running")
    write_run(tmp_path, "mse", 0.1, 1, status="failed")
    with pytest.raises(ValueError, match=r"got 1 failed \(loss=mse,lr=0.1,seed=1\), 1 running"):
        compare(tmp_path)


def test_an_arm_that_always_diverged_is_still_compared(tmp_path: Path) -> None:
    for seed in range(2):
        write_run(tmp_path, "cross_entropy", 0.1, seed, 0.98)
        write_run(tmp_path, "mse", 0.1, seed, 0.098, status="diverged")
    comparison = compare(tmp_path)
    assert comparison.differences["difference"].tolist() == pytest.approx([88.2])
    assert "; every run of mse diverged" in comparison.verdict
    expected = "mse: every run diverged; add smaller learning rates, 0.03 first"
    assert expected in comparison.warnings


def test_a_repeated_run_is_counted_once_and_named(tmp_path: Path) -> None:
    write_run(tmp_path, "mse", 0.1, 0, 0.9, name="a")
    write_run(tmp_path, "mse", 0.1, 0, 0.8, name="b")
    comparison = compare(tmp_path)
    assert cell(comparison, "mse", 0.1)["val_mean"] == pytest.approx(90)
    assert any(warning.startswith("1 run left out, as another") for warning in comparison.warnings)
