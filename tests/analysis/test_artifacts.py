"""What is concluded from the learning curves that runs left beside their records."""

import math
from pathlib import Path

import pandas as pd
import pytest

from runlab.analysis.compare import compare
from runlab.analysis.comparison import Comparison
from runlab.analysis.terminal import terminal
from runlab.analysis.write import write
from tests.analysis.synthetic import keep_curves, write_run

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
        terminal(comparison).split()
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
    assert "the runs kept no curves.csv" in (write(comparison) / "comparison.md").read_text()


def test_damaged_files_are_named_and_left_out(tmp_path: Path) -> None:
    for seed, curves in enumerate(["", "a,b\n1,2\n", "\0"]):
        run = write_run(tmp_path, "mse", 0.1, seed, name=f"damaged{seed}")
        (run / "curves.csv").write_text(curves)
    warnings = compare(tmp_path).warnings
    for seed in range(3):
        assert any(each.startswith(f"damaged{seed}: its curves.csv can't") for each in warnings)


def test_curves_of_all_runs_are_written(comparison: Comparison) -> None:
    table = pd.read_csv(write(comparison) / "curves.csv")
    assert list(table.columns[:6]) == ["run", "arm", "learning_rate", "seed", "epoch", "step"]
    assert len(table) == 24


def test_a_figure_with_nothing_to_show_any_more_is_removed(comparison: Comparison) -> None:
    assert (write(comparison) / "learning_curves.png").exists()
    for path in comparison.sweep.glob("*/curves.csv"):
        path.unlink()
    folder = write(compare(comparison.sweep))
    assert not list(folder.glob("learning_curves.*"))
    assert "learning_curves.svg" not in (folder / "comparison.md").read_text()


def test_a_chosen_run_without_curves_is_named(comparison: Comparison) -> None:
    (comparison.sweep / "loss=mse,lr=0.1,seed=0" / "curves.csv").unlink()
    expected = "1 run of the chosen cells kept no curves: loss=mse,lr=0.1,seed=0"
    assert expected in compare(comparison.sweep).warnings
