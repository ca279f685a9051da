"""What runs declare: measures, of which one is primary, and how arms look."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import runlab.analysis
from runlab.analysis.compare import compare
from runlab.analysis.runs import load
from runlab.analysis.terminal import terminal
from runlab.analysis.write import write
from runlab.measure import Measure
from tests.analysis.synthetic import ACCURACY, LOSS, MEASURES, NLL, keep_curves, write_run

RMSE = Measure("rmse", "RMSE", unit="m", difference_unit="m", digits=3)
MAE = Measure("mae", "MAE", unit="m", digits=3)
REGRESSION = (RMSE, MAE, LOSS)
WORDS = re.compile(
    r"accura|(?<!data:)\bimages?\b|softmax|num_classes|probabilit|confusion|\bnll\b|\bbrier\b|\bece\b|"
    r"\bclass(?:es)? labels?\b|calibrat|reliability|mountain|\blesson\b",
    re.IGNORECASE,
)
"""Of classification, or of no meaning to a reader: the core knows none of them."""


def write_regression(sweep: Path, loss: str, learning_rate: float, seed: int, rmse: float) -> Path:
    metrics = {f"{split}/{name}": rmse * factor for split in ("val", "test")
               for name, factor in (("rmse", 1), ("mae", 0.8), ("loss", 2))}  # fmt: skip
    unknown = {f"{split}/accuracy": None for split in ("val", "test")}
    return write_run(
        sweep, loss, learning_rate, seed, metrics=metrics | unknown, measures=REGRESSION,
        comparison={"margin": 0.01}, module={},
    )  # fmt: skip


@pytest.fixture(scope="module")
def regression(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Huber is better by 0.1 m, a little less with each seed; both do best at 0.1."""
    sweep = tmp_path_factory.mktemp("regression")
    for loss, rmse in (("huber", 0.4), ("squared", 0.5)):
        for seed in range(6):
            for learning_rate, worse in ((0.05, 0.3), (0.1, 0.0), (0.2, 0.2)):
                reached = rmse + worse + seed * 1e-3 * (loss == "huber")
                folder = write_regression(sweep, loss, learning_rate, seed, reached)
                keep_curves(folder, [2 * reached, reached], measures=("rmse", "mae"))
    return sweep


def test_a_regression_is_compared_by_its_own_measure(regression: Path) -> None:
    comparison = compare(regression)
    assert comparison.measure == comparison.primary == RMSE
    assert comparison.arms["learning_rate"].tolist() == [0.1, 0.1]
    assert comparison.folder.name == "comparison"
    # differences -0.100, -0.099, …, -0.095: sd 0.0018708, t(0.975, 5) = 2.570582, ±0.001963
    assert comparison.conclusions == [
        "huber better than squared by 0.097 m of test RMSE [0.096, 0.099], 6 paired seeds, exact "
        "permutation p = 0.031"
    ]
    assert comparison.arms["test_mae"].tolist() == pytest.approx([0.322, 0.4])
    assert comparison.speed.empty
    assert comparison.warnings == []


@pytest.mark.long
def test_nothing_of_a_regression_speaks_of_classification(regression: Path) -> None:
    comparison = compare(regression)
    folder = write(comparison)
    page = (folder / "comparison.html").read_text()
    texts = [
        terminal(comparison),
        re.sub(
            "<style>.*?</style>|<svg.*?</svg>|<script type=.text/plain.*?</script>",
            "",
            page,
            flags=re.DOTALL,
        ),
        (folder / "comparison.md").read_text(),
        *((folder / f"{name}.csv").read_text() for name in ("cells", "arms", "differences")),
    ]
    for text in texts:
        assert WORDS.findall(text) == []
    assert "RMSE" in page
    assert "lower is better" in page
    assert "kept no curves.csv" not in page


def test_the_core_knows_no_word_of_classification() -> None:
    folder = Path(runlab.analysis.__file__).parent
    files = [path for path in folder.rglob("*") if path.suffix in (".py", ".jinja")]
    assert len(files) > 20
    said = {str(path.relative_to(folder)): WORDS.findall(path.read_text()) for path in files}
    assert {name: words for name, words in said.items() if words} == {}


def test_another_declared_measure_is_compared_by_its_name(tmp_path: Path) -> None:
    for loss, nll in (("mse", 0.3), ("cross_entropy", 0.2)):
        for seed in range(6):
            metrics = {"val/nll": nll, "test/nll": nll + seed * 1e-3}
            write_run(tmp_path, loss, 0.1, seed, metrics=metrics)
    comparison = compare(tmp_path, "nll")
    assert comparison.folder.name == "comparison_nll"
    assert comparison.verdict.startswith("cross_entropy better than mse by 0.1000 in test NLL")
    assert comparison.margin is None
    assert not {"test_accuracy"} & set(comparison.cells)
    assert (write(comparison) / "comparison.html").exists()


def test_a_measure_that_nobody_declares_is_refused_with_those_that_are(tmp_path: Path) -> None:
    write_run(tmp_path, "mse", 0.1, 0)
    expected = r"expected a measure that all runs declare alike, got f1: .*: accuracy, nll, brier"
    with pytest.raises(ValueError, match=expected):
        compare(tmp_path, "f1")


def test_runs_with_different_primary_measures_are_not_compared_unless_by_one_of_all(
    tmp_path: Path,
) -> None:
    write_run(tmp_path, "mse", 0.1, 0)
    write_run(tmp_path, "mse", 0.1, 1, measures=(NLL, ACCURACY))
    expected = (
        r"expected runs with one primary measure, got accuracy \(1 run\), nll "
        r"\(1 run: loss=mse,lr=0\.1,seed=1\): name one that all declare alike by --metric: "
        "accuracy, nll"
    )
    with pytest.raises(ValueError, match=expected):
        compare(tmp_path)
    comparison = compare(tmp_path, "accuracy")
    assert comparison.folder.name == "comparison_accuracy"
    assert comparison.margin == 0.2, "that of the run of which it is the primary measure"
    assert any(
        each.startswith("the runs declare different measures: accuracy, nll, brier, ece, loss (1")
        for each in comparison.warnings
    )


def test_a_run_that_alone_declares_its_measure_otherwise_is_named(tmp_path: Path) -> None:
    for seed in range(3):
        write_run(tmp_path, "mse", 0.1, seed)
    changed = (replace(ACCURACY, scale=1.0), *MEASURES[1:])
    write_run(tmp_path, "mse", 0.1, 3, name="odd", measures=changed)
    with pytest.raises(
        ValueError, match=r"got accuracy \(3 runs\), accuracy otherwise declared \(1 run: odd\)"
    ):
        compare(tmp_path)


def test_the_same_measures_with_another_one_first_are_told(tmp_path: Path) -> None:
    write_run(tmp_path, "mse", 0.1, 0)
    write_run(tmp_path, "mse", 0.1, 1, measures=(NLL, *(each for each in MEASURES if each != NLL)))
    expected = "the runs declare different primary measures: accuracy (1 run), nll (1 run)"
    assert expected in compare(tmp_path, "nll").warnings


def test_runs_that_share_no_measure_are_refused(tmp_path: Path) -> None:
    write_run(tmp_path, "mse", 0.1, 0)
    write_regression(tmp_path, "huber", 0.1, 0, 0.4)
    with pytest.raises(ValueError, match="name one that all declare alike by --metric: loss"):
        compare(tmp_path)
    write_run(tmp_path, "mse", 0.1, 1, measures=(NLL,))
    with pytest.raises(ValueError, match="they share none, so compare them in sweeps of their own"):
        compare(tmp_path)


def test_a_measure_that_not_all_declare_is_left_out_with_a_warning(tmp_path: Path) -> None:
    write_run(tmp_path, "mse", 0.1, 0)
    write_run(tmp_path, "mse", 0.1, 1, measures=(ACCURACY, replace(NLL, scale=2.0), LOSS))
    comparison = compare(tmp_path)
    assert comparison.other_measures == []
    assert comparison.warnings[-1] == (
        "the runs declare different measures: accuracy, nll, brier, ece, loss (1 run), accuracy, "
        "nll, loss (1 run); alike in all: accuracy, loss"
    )


def test_how_a_measure_is_shown_may_differ(tmp_path: Path) -> None:
    write_run(tmp_path, "mse", 0.1, 0)
    other = replace(ACCURACY, digits=3, milestones=(99.0,), tolerance=0.1, title="top-1")
    write_run(tmp_path, "mse", 0.1, 1, measures=(other, *MEASURES[1:]))
    comparison = compare(tmp_path)
    assert comparison.measure == ACCURACY
    assert not any("declare" in warning for warning in comparison.warnings)


def test_a_record_without_measures_is_named(tmp_path: Path) -> None:
    write_run(tmp_path, "mse", 0.1, 0, measures=())
    runs, declarations, *_ = load(tmp_path)
    assert "expected measures in run.json, got none" in runs["problem"].iloc[0]
    assert declarations == {}


def test_a_sweep_of_another_layout_is_refused_with_its_sentence(tmp_path: Path) -> None:
    folder = write_run(tmp_path, "mse", 0.1, 0)
    path = folder / "run.json"
    path.write_text(path.read_text().replace('"layout": 2', '"layout": 1'))
    with pytest.raises(ValueError, match=r"expected a run record of layout 2 in .*, got layout 1"):
        compare(tmp_path)


def test_milestones_of_a_measure_are_reached_from_its_own_side(tmp_path: Path) -> None:
    rmse = replace(RMSE, milestones=(0.5,), tolerance=0.05)
    metrics = {"val/rmse": 0.3, "test/rmse": 0.3}
    folder = write_run(tmp_path, "huber", 0.1, 0, measures=(rmse,), metrics=metrics)
    keep_curves(folder, [0.9, 0.5, 0.3], measures=("rmse",))
    comparison = compare(tmp_path)
    assert comparison.speed[["threshold", "median"]].to_numpy().tolist() == [[0.5, 2.0]]
    assert "Median epochs to 0.5 m validation RMSE, 1 run an arm: huber 2." in terminal(comparison)


def test_many_measures_leave_the_terminals_table_within_its_width(tmp_path: Path) -> None:
    others = tuple(Measure(f"m{index}", f"another measure {index}") for index in range(9))
    metrics = {f"test/{each.name}": float(np.pi) for each in others}
    for seed in range(2):
        write_run(tmp_path, "mse", 0.1, seed, measures=(ACCURACY, *others), metrics=metrics)
    lines = terminal(compare(tmp_path)).splitlines()
    assert max(map(len, lines)) <= 100
    assert any("measure 0" in line for line in lines)


def test_styles_come_from_the_records_and_one_that_is_none_is_named(tmp_path: Path) -> None:
    styles = {"huber": {"color": "#D55E00", "marker": "s"}, "mse": {"color": "red"}}
    for loss in ("mse", "focal", "huber"):
        write_run(tmp_path, loss, 0.1, 0, comparison={"arm_styles": styles})
    comparison = compare(tmp_path)
    assert list(comparison.arm_styles) == ["huber", "focal", "mse"]
    assert comparison.arm_styles["huber"].color == "#D55E00"
    assert comparison.cells["arm"].tolist() == ["huber", "focal", "mse"]
    assert any(
        each.startswith("expected comparison.arm_styles.mse") for each in comparison.warnings
    )


def test_outputs_are_kept_for_whoever_writes_the_comparison(tmp_path: Path) -> None:
    write_run(tmp_path, "mse", 0.1, 0, comparison={"outputs": ["a.b", "c.d"]})
    assert compare(tmp_path).outputs == ("a.b", "c.d")
