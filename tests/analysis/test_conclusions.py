"""What a reader is told: verdict and warnings, from sweeps whose truth is known."""

import math
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path

import pytest

from runlab.analysis.compare import compare
from runlab.analysis.method import differences
from tests.analysis.synthetic import Accuracy, write_run, write_sweep

Cells = dict[tuple[str, float], list[Accuracy]]


def ahead(seeds: int, by: float = 0.003) -> Cells:
    """Both arms do best at 0.1, of three rates; cross-entropy by `by` and a little more a seed."""
    cells = {
        ("cross_entropy", 0.1): [0.97 + by + seed * 1e-4 for seed in range(seeds)],
        ("mse", 0.1): [0.97] * seeds,
    }
    return between_worse(cells)


def between_worse(cells: Mapping[tuple[str, float], Sequence[Accuracy]]) -> Cells:
    worse = {
        (arm, rate * factor): [0.9] * len(own)
        for (arm, rate), own in cells.items()
        for factor in (0.5, 2)
    }
    return {**{key: list(own) for key, own in cells.items()}, **worse}


def warned(sweep: Path) -> str:
    return "\n".join(compare(sweep).warnings)


def noisy(difference: float, seeds: int, spread: float = 0.001) -> Cells:
    """Cross-entropy ahead by `difference` in the mean, seeds evenly to both sides of it."""
    extra = [spread * (2 * seed / (seeds - 1) - 1) for seed in range(seeds)]
    cells = {
        ("cross_entropy", 0.1): [0.97 + difference + each for each in extra],
        ("mse", 0.1): [0.97] * seeds,
    }
    return between_worse(cells)


def test_verdict_of_a_real_difference_states_effect_interval_pairs_and_p(tmp_path: Path) -> None:
    # differences 0.30, 0.31, ..., 0.39 points: sd 0.030277, t(0.975, 9) = 2.262157, ±0.021659
    assert compare(write_sweep(tmp_path, ahead(10))).verdict == (
        "cross_entropy better than mse by 0.34 points of test accuracy [0.32, 0.37], "
        "10 paired seeds, exact permutation p = 0.002"
    )


def test_verdict_names_the_better_arm_whichever_comes_first(tmp_path: Path) -> None:
    worse = compare(write_sweep(tmp_path, ahead(6, by=-0.01025)))
    assert worse.verdict.startswith(
        "mse better than cross_entropy by 1.00 points of test accuracy [0.98, 1.02]"
    )


def test_verdict_of_a_small_but_certain_difference_says_that_it_does_not_matter(
    tmp_path: Path,
) -> None:
    verdict = compare(write_sweep(tmp_path, noisy(0.001, 10, spread=0.0002))).verdict
    assert verdict.startswith("cross_entropy better than mse by 0.10 points")
    assert verdict.endswith("too small to matter, within ±0.2 points")


def test_verdict_of_equivalence_shows_the_interval_that_lies_within_the_margin(
    tmp_path: Path,
) -> None:
    # differences from -0.10 to 0.10: sd 0.067280, t(0.95, 9) = 1.833113, ±0.039001
    assert compare(write_sweep(tmp_path, noisy(0, 10))).verdict == (
        "No difference that matters between cross_entropy and mse: within ±0.2 points of test "
        "accuracy, +0.00 [−0.04, 0.04] (90%), 10 paired seeds, two one-sided t tests p < 0.001"
    )


def test_verdict_of_ties_is_equivalence(tmp_path: Path) -> None:
    verdict = compare(write_sweep(tmp_path, noisy(0, 6, spread=0))).verdict
    assert verdict.startswith("No difference that matters between cross_entropy and mse")
    assert "+0.00 [0.00, 0.00] (90%)" in verdict


def test_verdict_says_when_nothing_is_shown_and_how_many_seeds_it_takes(tmp_path: Path) -> None:
    # from -0.9 to 1.1: sd 0.672801; 2 Φ(0.2 sqrt(98) / 0.672801 - 1.660715) - 1 = 0.8006
    verdict = compare(write_sweep(tmp_path, noisy(0.001, 10, spread=0.01))).verdict
    assert verdict.startswith(
        "Undecided between cross_entropy and mse: +0.10 points of test accuracy [−0.38, 0.58] "
        "(cross_entropy − mse), 10 paired seeds, exact permutation p ="
    )
    assert verdict.endswith(
        "neither a difference nor its absence within ±0.2 points is shown: if there is none, a "
        "new sweep of about 98 seeds would show it 4 times in 5"
    )


@pytest.mark.parametrize("seeds", [1, 5])
def test_verdict_says_when_seeds_are_too_few(tmp_path: Path, seeds: int) -> None:
    assert compare(write_sweep(tmp_path, ahead(seeds))).verdict.startswith(
        "Too few seeds to say whether cross_entropy or mse is better: at least 6 are needed for "
        f"p < 0.05, got {seeds}; so far +0.3"
    )


def test_a_single_pair_has_no_interval(tmp_path: Path) -> None:
    verdict = compare(write_sweep(tmp_path, ahead(1))).verdict
    assert verdict.endswith("so far +0.30 points of test accuracy (cross_entropy − mse)")


def test_three_arms_have_three_conclusions_corrected_by_holm(tmp_path: Path) -> None:
    cells = ahead(10) | between_worse({("mse_logits", 0.1): [0.95] * 10})
    conclusions = compare(write_sweep(tmp_path, cells)).conclusions
    assert len(conclusions) == 3
    assert all(each.endswith("p = 0.006 after Holm over 3 differences") for each in conclusions)


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


def test_verdict_where_one_arm_is_missing_is_of_the_other_and_warns(tmp_path: Path) -> None:
    write_run(tmp_path, "mse", 0.1, 0, 0.97)
    write_run(tmp_path, "cross_entropy", 0.1, 0, status="failed")
    comparison = compare(tmp_path)
    assert comparison.verdict.endswith("a single arm, nothing to compare it with")
    assert any(each.startswith("cross_entropy: no run has") for each in comparison.warnings)


def test_verdict_where_all_runs_diverged_says_so(tmp_path: Path) -> None:
    for arm in ("mse", "cross_entropy"):
        for seed in range(6):
            write_run(tmp_path, arm, 0.1, seed, 0.098, status="diverged")
    assert compare(tmp_path).verdict == (
        "Nothing can be concluded about cross_entropy and mse; every run of cross_entropy "
        "diverged; every run of mse diverged"
    )


def test_a_verdict_that_a_few_seeds_make_is_none(tmp_path: Path) -> None:
    """One of ten runs diverged: all differences have one sign, but the interval is wide."""
    accuracies = {"cross_entropy": 0.975, "mse": 0.97}
    for arm, rate, seed in product(accuracies, (0.05, 0.1, 0.2), range(10)):
        lost = (arm, rate, seed) == ("mse", 0.1, 3)
        reached = accuracies[arm] + seed * 1e-4 if rate == 0.1 else 0.5
        status = "diverged" if lost else "finished"
        write_run(tmp_path, arm, rate, seed, 0.1 if lost else reached, status=status)
    verdict = compare(tmp_path).verdict
    assert verdict.startswith("Undecided between cross_entropy and mse: +9.2")
    assert verdict.endswith(
        "p = 0.002; yet the interval includes 0: a few seeds are far from the rest; "
        "1 of 10 runs of mse diverged"
    )


def test_a_test_that_does_not_reject_is_not_overruled_by_its_interval(tmp_path: Path) -> None:
    # differences -0.1, 0.4, 0.5, ..., 0.8: the test's p is 2 of 64 · 2, the interval excludes 0
    cells = {
        ("cross_entropy", 0.1): [0.969, 0.974, 0.975, 0.976, 0.977, 0.978],
        ("mse", 0.1): [0.97] * 6,
    }
    verdict = compare(write_sweep(tmp_path, between_worse(cells))).verdict
    assert "p = 0.062; that the interval excludes 0 is not enough, the test decides" in verdict


def test_verdict_is_provisional_where_a_chosen_rate_is_on_the_edge(tmp_path: Path) -> None:
    cells = {key: own for key, own in ahead(10).items() if key != ("mse", 0.2)}
    assert compare(write_sweep(tmp_path, cells)).verdict.endswith(
        "p = 0.002; provisional: a wider grid may change the rate of mse"
    )


def test_without_a_margin_equivalence_is_not_concluded(tmp_path: Path) -> None:
    for (arm, rate), accuracies in noisy(0, 10).items():
        for seed, accuracy in enumerate(accuracies):
            write_run(tmp_path, arm, rate, seed, accuracy, config={"comparison": {"margin": None}})
    assert compare(tmp_path).verdict.endswith("; a difference is not shown")
    late = compare(tmp_path, margin=0.2)
    assert late.verdict.startswith("No difference that matters")
    assert late.margin_origin == "given with the comparison, after the runs"
    assert "the margin ±0.2 was given afterwards; the runs declared none" in late.warnings


@pytest.mark.parametrize(
    ("overrides", "origin"),
    [
        ([[], []], "no command line set it, so it is the configuration files' default, unless"),
        ([["comparison.margin=0.2"]] * 2, "before it began, as its command line set it"),
        ([["comparison=mine"], ["+comparison.margin=0.2"]], "before it began, as its command line"),
        ([[], ["comparison.margin=0.2"]], "the command line of 1 of 2 runs set it"),
    ],
)
def test_a_margin_is_shown_with_who_set_it(
    tmp_path: Path, overrides: list[list[str]], origin: str
) -> None:
    for seed, own in enumerate(overrides):
        write_run(tmp_path, "mse", 0.1, seed, overrides=own)
    comparison = compare(tmp_path)
    assert comparison.margin_origin.startswith("recorded by every run before it began")
    assert origin in comparison.margin_origin
    assert f"The margin: {comparison.margin_origin}." in differences(comparison)
    assert compare(tmp_path, margin=0.2).margin_origin == comparison.margin_origin


def test_of_several_margins_the_smallest_is_no_declared_one(tmp_path: Path) -> None:
    for seed, margin in enumerate((0.2, 0.5, None)):
        write_run(tmp_path, "mse", 0.1, seed, comparison={"margin": margin})
    comparison = compare(tmp_path)
    assert comparison.margin == 0.2
    several = "the smallest of those that the runs recorded (±0.2, ±0.5, none)"
    assert comparison.margin_origin == several
    assert "the runs declared different margins (±0.2, ±0.5, none): the smallest is used" in (
        comparison.warnings
    )


@pytest.mark.parametrize("margin", [0, -0.2, math.nan, math.inf])
def test_a_margin_that_is_none_is_refused(tmp_path: Path, margin: float) -> None:
    write_sweep(tmp_path, ahead(1))
    with pytest.raises(ValueError, match="expected a margin above 0, got"):
        compare(tmp_path, margin=margin)


def test_arms_are_compared_where_one_setting_alone_differs(tmp_path: Path) -> None:
    for arm in ("mse", "cross_entropy"):
        for model in ("cnn", "mlp"):
            write_run(tmp_path, arm, 0.1, 0, name=arm + model, choices={"model": model})
    pairs = compare(tmp_path).differences[["arm", "other"]].to_numpy().tolist()
    assert pairs == [
        ["cross_entropy, model=cnn", "cross_entropy, model=mlp"],
        ["cross_entropy, model=cnn", "mse, model=cnn"],
        ["cross_entropy, model=mlp", "mse, model=mlp"],
        ["mse, model=cnn", "mse, model=mlp"],
    ]


def test_where_all_arms_differ_in_several_settings_a_reader_is_warned(tmp_path: Path) -> None:
    for arm, model in (("mse", "cnn"), ("cross_entropy", "mlp")):
        write_run(tmp_path, arm, 0.1, 0, choices={"model": model})
    assert "what a difference comes from is not known: it may be loss or model" in warned(tmp_path)
    assert len(compare(tmp_path).differences) == 1


def test_losses_are_not_compared_by_their_own_values(tmp_path: Path) -> None:
    write_sweep(tmp_path, ahead(2))
    with pytest.raises(ValueError, match="expected runs of one loss to compare by loss, got cross"):
        compare(tmp_path, "loss")


def test_runs_of_one_loss_may_be_compared_by_it(tmp_path: Path) -> None:
    for seed in range(6):
        for optimizer, loss in (("sgd", 0.2), ("adam", 0.1)):
            metrics = {"val/loss": loss, "test/loss": loss + seed / 1_000}
            name, choices = f"{optimizer}{seed}", {"optimizer": optimizer}
            write_run(tmp_path, "mse", 0.1, seed, name=name, choices=choices, metrics=metrics)
    assert compare(tmp_path, "loss").verdict.startswith(
        "mse, optimizer=adam better than mse, optimizer=sgd by 0.1000 in test loss [0.1000, 0.1000]"
    )


@pytest.mark.parametrize(
    ("best", "sentence"),
    [
        (0.5, "0.5 is the largest that was tried, so a better one may lie beyond; try 1 too"),
        (0.1, "0.1 is the smallest that was tried, so a better one may lie beyond; try 0.05 too"),
    ],
)
def test_a_choice_on_the_grids_edge_names_the_value_to_add(
    tmp_path: Path, best: float, sentence: str
) -> None:
    for rate in (0.1, 0.2, 0.5):
        write_run(tmp_path, "mse", rate, 0, 0.98 if rate == best else 0.9)
    assert f"mse: its chosen learning rate {sentence}" in warned(tmp_path)


def test_a_gap_in_the_grid_is_not_taken_for_a_step(tmp_path: Path) -> None:
    write_run(tmp_path, "mse", 0.1, 0, 0.98)
    write_run(tmp_path, "mse", 1e6, 0, status="diverged")
    warnings = warned(tmp_path)
    assert (
        "0.1 is the smallest that was tried, so a better one may lie beyond; try 0.01 too"
        in warnings
    )
    assert "a single learning rate" not in warnings


def test_single_learning_rates_are_one_warning(tmp_path: Path) -> None:
    cells = {key: own for key, own in ahead(10).items() if key[1] == 0.1}
    assert warned(write_sweep(tmp_path, cells)) == (
        "cross_entropy, mse: a single learning rate was tried, 0.1; add 0.03 and 0.3"
    )
    assert compare(tmp_path).verdict.endswith("; untuned: one learning rate was tried")


def test_a_clean_sweep_warns_of_nothing(tmp_path: Path) -> None:
    rates = {0.1: 0.9, 0.2: 0.98, 0.5: 0.9}
    cells: dict[tuple[str, float], list[Accuracy]] = {
        (arm, rate): [accuracy] * 6
        for arm in ("mse", "cross_entropy")
        for rate, accuracy in rates.items()
    }
    assert warned(write_sweep(tmp_path, cells)) == ""


def test_cells_whose_seeds_end_differently_are_named(tmp_path: Path) -> None:
    for seed in range(10):
        lost = seed == 4
        write_run(tmp_path, "mse", 0.1, seed, 0.97 + seed * 1e-4)
        write_run(tmp_path, "mse", 0.5, seed, 0.191 if lost else 0.95 + seed * 1e-4)
        status = "diverged" if lost else "finished"
        write_run(tmp_path, "cross_entropy", 0.5, seed, 0.1 if lost else 0.9, status=status)
        write_run(tmp_path, "cross_entropy", 1, seed, 0.1, status="diverged")
    assert (
        "seeds of one cell end differently: cross_entropy at 0.5 (1 of 10 diverged), mse at 0.5 "
        "(1 of 10 far off the others); there rounding may decide, so that a seed may end otherwise "
        "alone, in a stack or on another processor"
    ) in warned(tmp_path)


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
