"""What a reader is told: verdict and warnings, from sweeps whose truth is known."""

from pathlib import Path

import pytest

from losslab.comparison import compare
from tests.comparison.synthetic import Accuracy, write_run, write_sweep


def ahead(seeds: int, by: float = 0.003) -> dict[tuple[str, float], list[Accuracy]]:
    return {
        ("cross_entropy", 0.1): [0.97 + by + seed * 1e-4 for seed in range(seeds)],
        ("mse", 0.1): [0.97] * seeds,
    }


def warned(sweep: Path) -> str:
    return "\n".join(compare(sweep).warnings)


def test_verdict_states_effect_interval_pairs_and_p(tmp_path: Path) -> None:
    # differences 0.30, 0.31, ..., 0.39 points: sd 0.030277, t(0.975, 9) = 2.262157, ±0.021659
    assert compare(write_sweep(tmp_path, ahead(10))).verdict == (
        "cross_entropy − mse: +0.34 points of test accuracy [0.32, 0.37], "
        "10 paired seeds, exact permutation p = 0.002"
    )


def test_verdict_says_when_seeds_are_too_few(tmp_path: Path) -> None:
    assert compare(write_sweep(tmp_path, ahead(5))).verdict.endswith(
        "5 paired seeds, exact permutation p = 0.062; "
        "too few seeds: at least 6 paired seeds are needed for p < 0.05"
    )


def test_verdict_of_three_arms_is_corrected(tmp_path: Path) -> None:
    cells = ahead(10) | {("mse_outputs", 0.1): [0.95] * 10}
    verdict = compare(write_sweep(tmp_path, cells)).verdict
    assert verdict.endswith("p = 0.006 after Holm over 3 differences")


def test_verdict_of_a_negative_effect_and_of_none(tmp_path: Path) -> None:
    worse = compare(write_sweep(tmp_path / "worse", ahead(6, by=-0.01025)))
    assert "−1.00 points of test accuracy [−1.02, −0.98]" in worse.verdict
    same: dict[tuple[str, float], list[Accuracy]] = {
        (arm, 0.1): [0.9] * 6 for arm in ("mse", "cross_entropy")
    }
    equal = compare(write_sweep(tmp_path / "equal", same))
    assert "+0.00 points of test accuracy [0.00, 0.00]" in equal.verdict
    assert equal.verdict.endswith("p = 1.000")


def test_verdict_of_one_pair_has_no_interval(tmp_path: Path) -> None:
    verdict = compare(write_sweep(tmp_path, ahead(1))).verdict
    assert "+0.30 points of test accuracy, 1 paired seed, exact permutation p = 1.000" in verdict


def test_verdict_without_common_seeds(tmp_path: Path) -> None:
    write_run(tmp_path, "mse", 0.1, 0)
    write_run(tmp_path, "cross_entropy", 0.1, 1)
    assert "share no seed" in compare(tmp_path).verdict


def test_verdict_of_a_single_run_and_arm(tmp_path: Path) -> None:
    write_run(tmp_path, "mse", 0.1, 0, 0.97)
    assert compare(tmp_path).verdict == (
        "mse: 97.00% test accuracy at learning rate 0.1, 1 seed; "
        "a single arm, nothing to compare it with"
    )


@pytest.mark.parametrize(
    ("best", "sentence"),
    [
        (0.5, "0.5 is the largest that was tried, so a better one may lie beyond; add 1"),
        (0.1, "0.1 is the smallest that was tried, so a better one may lie beyond; add 0.05"),
    ],
)
def test_a_choice_on_the_grids_edge_names_the_value_to_add(
    tmp_path: Path, best: float, sentence: str
) -> None:
    for rate in (0.1, 0.2, 0.5):
        write_run(tmp_path, "mse", rate, 0, 0.98 if rate == best else 0.9)
    assert f"mse: its chosen learning rate {sentence}" in warned(tmp_path)


def test_a_clean_sweep_warns_of_nothing(tmp_path: Path) -> None:
    rates = {0.1: 0.9, 0.2: 0.98, 0.5: 0.9}
    cells: dict[tuple[str, float], list[Accuracy]] = {
        (arm, rate): [accuracy] * 6
        for arm in ("mse", "cross_entropy")
        for rate, accuracy in rates.items()
    }
    assert warned(write_sweep(tmp_path, cells)) == ""


def test_unequal_cells_and_grids_are_named(tmp_path: Path) -> None:
    cells: dict[tuple[str, float], list[Accuracy]] = {
        ("mse", 0.1): [0.9, 0.9],
        ("mse", 0.2): [0.9],
        ("cross_entropy", 0.1): [0.9, 0.9],
    }
    warnings = warned(write_sweep(tmp_path, cells))
    assert "cells differ in their number of runs, up to 2; fewer: mse at 0.2 (1)" in warnings
    assert "cross_entropy has no finished run at 0.2, where other arms have" in warnings


def test_an_unreadable_record_is_named(tmp_path: Path) -> None:
    write_run(tmp_path, "mse", 0.1, 0)
    (write_run(tmp_path, "mse", 0.1, 1, name="torn") / "run.json").write_text("{")
    assert "torn is left out: expected a run record" in warned(tmp_path)


def test_an_arm_in_which_nothing_finished_is_named(tmp_path: Path) -> None:
    write_run(tmp_path, "mse", 0.1, 0)
    write_run(tmp_path, "cross_entropy", 0.1, 0, status="failed")
    assert "cross_entropy: no run has finished" in warned(tmp_path)


def test_mixed_provenance_is_named_by_what_differs(tmp_path: Path) -> None:
    write_run(tmp_path, "mse", 0.1, 0)
    other = {
        "git": {"revision": "def5678", "dirty": True},
        "versions": {"torch": "2.11.0", "numpy": "2.4.6"},
        "hardware": {"cpu": "Synthetic CPU", "gpu": "Synthetic GPU"},
        "data": "0ther",
    }
    write_run(tmp_path, "mse", 0.1, 1, provenance=other)
    warnings = warned(tmp_path)
    assert "2 git revisions: abc1234 (1 run), def5678 (1 run)" in warnings
    assert "2 sets of library versions: torch 2.15.0 (1 run), torch 2.11.0 (1 run)" in warnings
    assert "gpu Synthetic GPU (1 run)" in warnings
    assert "2 checksums of mnist: 5eed (1 run), 0ther (1 run)" in warnings
    assert "1 run trained from a checkout with uncommitted changes" in warnings


def test_a_run_that_went_on_with_other_code_is_named(tmp_path: Path) -> None:
    earlier = {
        "git": {"revision": "def5678", "dirty": False},
        "versions": {"torch": "2.15.0", "numpy": "2.4.6"},
        "hardware": {"cpu": "Synthetic CPU"},
    }
    write_run(tmp_path, "mse", 0.1, 0, name="resumed", provenance={"earlier": [earlier]})
    warnings = warned(tmp_path)
    assert "1 run began and ended on different git revisions: resumed" in warnings
    assert "kinds of hardware" not in warnings
    write_run(tmp_path, "mse", 0.1, 1)
    assert "2 git revisions: abc1234 (1 run), def5678 then abc1234 (1 run)" in warned(tmp_path)
