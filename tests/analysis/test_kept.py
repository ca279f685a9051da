"""What is concluded from the files that runs left beside their records."""

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from runlab.analysis import Comparison, compare
from tests.analysis.synthetic import keep_curves, keep_predictions, write_run

SLOW = [0.85, 0.92, 0.94, 0.96]
FAST = [0.91, 0.96, 0.975, 0.98]


@pytest.fixture
def comparison(tmp_path: Path) -> Comparison:
    """Cross-entropy fast, mse slow and once stuck; at 0.2 nothing is learnt."""
    for seed in range(3):
        for loss, accuracies in (("cross_entropy", FAST), ("mse", SLOW)):
            run = write_run(tmp_path, loss, 0.1, seed, accuracies[-1])
            keep_curves(run, accuracies if seed or loss != "mse" else [0.8] * 4)
            write_run(tmp_path, loss, 0.2, seed, 0.1, status="diverged")
    return compare(tmp_path)


def epochs(comparison: Comparison, arm: str, threshold: float) -> tuple[float, ...]:
    speed = comparison.speed
    row = speed[(speed["arm"] == arm) & (speed["threshold"] == threshold)].iloc[0]
    return tuple(row[["n", "reached", "median", "lowest", "highest"]])


def test_speed_is_the_first_epoch_that_reaches_an_accuracy(comparison: Comparison) -> None:
    assert epochs(comparison, "cross_entropy", 90) == (3, 3, 1, 1, 1)
    assert epochs(comparison, "cross_entropy", 97) == (3, 3, 3, 3, 3)


def test_what_was_never_reached_is_censored_not_dropped(comparison: Comparison) -> None:
    assert epochs(comparison, "mse", 95) == (3, 2, 4, 4, math.inf)
    assert epochs(comparison, "mse", 97) == (3, 0, math.inf, math.inf, math.inf)
    assert "3 runs an arm: cross_entropy 1 / 2 / 3; mse 2 / 4 / never" in " ".join(
        comparison.terminal().split()
    )


def test_curves_are_those_of_the_chosen_cells_in_percent(comparison: Comparison) -> None:
    curves = comparison.curves
    assert set(curves["learning_rate"]) == {0.1}
    assert len(curves) == 24
    one = curves[(curves["arm"] == "cross_entropy") & (curves["seed"] == 1)]
    assert one["val/accuracy"].tolist() == pytest.approx([91, 96, 97.5, 98])


def test_without_kept_files_a_comparison_says_so(tmp_path: Path) -> None:
    write_run(tmp_path, "mse", 0.1, 0)
    comparison = compare(tmp_path)
    assert comparison.speed.empty
    assert comparison.curves.empty
    assert comparison.reliability.empty
    assert "the runs kept no curves.csv" in (comparison.write() / "comparison.md").read_text()


def test_damaged_files_are_named_and_left_out(tmp_path: Path) -> None:
    for seed, (curves, predictions) in enumerate([("", b""), ("a,b\n1,2\n", b"PK"), ("\0", b"{")]):
        run = write_run(tmp_path, "mse", 0.1, seed, name=f"damaged{seed}")
        (run / "curves.csv").write_text(curves)
        (run / "predictions.npz").write_bytes(predictions)
    warnings = compare(tmp_path).warnings
    for seed in range(3):
        for name in ("curves.csv", "predictions.npz"):
            assert any(each.startswith(f"damaged{seed}: its {name} can't") for each in warnings)


def test_reliability_by_hand(tmp_path: Path) -> None:
    confidence = np.repeat([0.95, 0.5], 50)
    for seed, right in enumerate((45, 35)):
        run = write_run(tmp_path, "mse", 0.1, seed)
        correct = np.concatenate([np.arange(50) < right, np.arange(50) < 25])
        keep_predictions(run, correct, confidence)
    bins = compare(tmp_path).reliability.set_index("bin_low")
    assert bins.index.tolist() == pytest.approx([7 / 15, 14 / 15])
    assert bins["images"].tolist() == [100, 100]
    assert bins["accuracy"].tolist() == pytest.approx([0.5, 0.8])
    assert bins["confidence"].tolist() == pytest.approx([0.5, 0.95])
    # 0.9 and 0.7: sd 0.141421, t(0.975, 1) = 12.706205: ±1.270620
    assert bins["accuracy_high"].iloc[1] == pytest.approx(2.070620, abs=1e-6)


def test_confusion_counts_errors_in_the_mean_over_runs(tmp_path: Path) -> None:
    for seed, wrong in enumerate((3, 5)):
        run = write_run(tmp_path, "mse", 0.1, seed)
        correct = np.ones(100, dtype=bool)
        correct[: 10 * wrong : 10] = False  # of class 0, taken for 1
        keep_predictions(run, correct)
    counts = compare(tmp_path).confusion.set_index(["truth", "predicted"])
    assert counts.loc[(0, 1), ["images", "share"]].tolist() == pytest.approx([4, 0.4])
    assert counts.loc[(0, 0), "images"] == pytest.approx(6)
    assert counts["images"].sum() == pytest.approx(100)


def both_arms(sweep: Path, images: int = 1_000) -> None:
    random = np.random.default_rng(0)
    difficult = random.random(images)
    for loss, skill in (("cross_entropy", 0.95), ("mse", 0.92)):
        for seed in range(6):
            correct = difficult + 0.05 * random.normal(size=images) < skill
            run = write_run(sweep, loss, 0.1, seed, float(correct.mean()))
            keep_predictions(run, correct)


def test_images_add_to_the_uncertainty_of_seeds(tmp_path: Path) -> None:
    both_arms(tmp_path)
    row = compare(tmp_path).differences.iloc[0]
    assert row["images_low"] < row["low"] < row["difference"] < row["high"] < row["images_high"]


def test_runs_on_other_images_are_not_paired_by_image(tmp_path: Path) -> None:
    both_arms(tmp_path)
    folder = tmp_path / "loss=mse,lr=0.1,seed=0"
    kept = dict(np.load(folder / "predictions.npz"))
    np.savez(folder / "predictions.npz", **(kept | {"label": np.roll(kept["label"], 1)}))
    assert np.isnan(compare(tmp_path).differences["images_low"].iloc[0])


def test_a_chosen_run_without_predictions_is_named(tmp_path: Path) -> None:
    both_arms(tmp_path)
    (tmp_path / "loss=mse,lr=0.1,seed=0" / "predictions.npz").unlink()
    comparison = compare(tmp_path)
    assert np.isnan(comparison.differences["images_low"].iloc[0])
    expected = "1 run of the chosen cells kept no predictions: loss=mse,lr=0.1,seed=0"
    assert expected in comparison.warnings


def test_a_nan_confidence_is_no_reason_to_fail(tmp_path: Path) -> None:
    run = write_run(tmp_path, "mse", 0.1, 0, 0.1, status="diverged")
    keep_predictions(run, np.zeros(20, dtype=bool), np.full(20, np.nan))
    assert compare(tmp_path).reliability["confidence"].tolist() == [0]


def test_the_mapping_is_named(tmp_path: Path) -> None:
    write_run(tmp_path, "mse", 0.1, 0)
    comparison = compare(tmp_path)
    assert comparison.arms["mapping"].tolist() == ["softmax(z)"]
    assert "| mse | softmax(z) | 1 |" in (comparison.write() / "comparison.md").read_text()


def test_curves_of_all_runs_are_written(comparison: Comparison) -> None:
    table = pd.read_csv(comparison.write() / "curves.csv")
    assert list(table.columns[:6]) == ["run", "arm", "learning_rate", "seed", "epoch", "step"]
    assert len(table) == 24


def test_a_figure_with_nothing_to_show_any_more_is_removed(comparison: Comparison) -> None:
    assert (comparison.write() / "learning_curves.png").exists()
    for path in comparison.sweep.glob("*/curves.csv"):
        path.unlink()
    folder = compare(comparison.sweep).write()
    assert not list(folder.glob("learning_curves.*"))
    assert "learning_curves.svg" not in (folder / "comparison.md").read_text()


def test_too_few_seeds_have_no_interval_over_images(tmp_path: Path) -> None:
    both_arms(tmp_path)
    for loss in ("mse", "cross_entropy"):
        (tmp_path / f"loss={loss},lr=0.1,seed=5" / "run.json").unlink()
    assert np.isnan(compare(tmp_path).differences["images_low"].iloc[0])


@pytest.mark.parametrize(
    "arrays",
    [
        {"label": np.zeros(10, np.uint8), "predicted": np.zeros(9, np.uint8)},
        {"label": np.zeros(0, np.uint8), "predicted": np.zeros(0, np.uint8)},
        {"label": np.zeros((2, 2), np.uint8), "predicted": np.zeros((2, 2), np.uint8)},
        {"label": np.zeros(3), "predicted": np.zeros(3)},
    ],
)
def test_predictions_that_do_not_fit_together_are_named(tmp_path: Path, arrays: dict) -> None:
    run = write_run(tmp_path, "mse", 0.1, 0)
    confidence = np.ones(arrays["label"].shape, np.float32)
    np.savez(run / "predictions.npz", confidence=confidence, **arrays)
    [warning] = [each for each in compare(tmp_path).warnings if "predictions" in each]
    assert warning.endswith("expected label, predicted and confidence of the same images")


def test_a_chosen_run_without_curves_is_named(comparison: Comparison) -> None:
    (comparison.sweep / "loss=mse,lr=0.1,seed=0" / "curves.csv").unlink()
    expected = "1 run of the chosen cells kept no curves: loss=mse,lr=0.1,seed=0"
    assert expected in compare(comparison.sweep).warnings
