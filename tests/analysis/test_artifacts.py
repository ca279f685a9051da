"""What is concluded from the learning curves that runs left beside their records."""

import math
import shutil
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


@pytest.fixture(scope="module")
def comparison(tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    """Cross-entropy fast, mse slow and once stuck; at 0.2 nothing is learnt."""
    sweep = tmp_path_factory.mktemp("sweep")
    for seed in range(3):
        for loss, accuracies in (("cross_entropy", FAST), ("mse", SLOW)):
            run = write_run(sweep, loss, 0.1, seed, accuracies[-1])
            keep_curves(run, accuracies if seed or loss != "mse" else [0.8] * 4)
            write_run(sweep, loss, 0.2, seed, 0.1, status="diverged")
    return compare(sweep)


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


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sweep with a comparison, in which one of four runs has no curves."""
    sweep = tmp_path_factory.mktemp("written")
    for seed in range(2):
        for loss in ("cross_entropy", "mse"):
            run = write_run(sweep, loss, 0.1, seed)
            if seed or loss == "mse":
                keep_curves(run, SLOW)
    write(compare(sweep))
    return sweep


@pytest.mark.long
def test_curves_of_all_runs_are_written(written: Path) -> None:
    table = pd.read_csv(written / "comparison" / "curves.csv")
    assert list(table.columns[:6]) == ["run", "arm", "learning_rate", "seed", "epoch", "step"]
    assert len(table) == 12


def test_a_figure_with_nothing_to_show_any_more_is_removed(written: Path, tmp_path: Path) -> None:
    sweep = shutil.copytree(written, tmp_path / "copy")
    assert (sweep / "comparison" / "learning_curves.png").exists()
    for path in sweep.glob("*/curves.csv"):
        path.unlink()
    folder = write(compare(sweep))
    assert not list(folder.glob("learning_curves.*"))
    assert "learning_curves.svg" not in (folder / "comparison.md").read_text()


def test_a_chosen_run_without_curves_is_named(written: Path) -> None:
    expected = "1 run of the chosen cells kept no curves: loss=cross_entropy,lr=0.1,seed=0"
    assert expected in compare(written).warnings
