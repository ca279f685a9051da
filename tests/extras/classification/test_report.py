"""What a comparison tells of classifiers, from their metrics and the predictions that they kept."""

import ast
from pathlib import Path

import numpy as np
import pytest

from runlab.analysis.compare import compare
from runlab.analysis.comparison import Comparison
from runlab.analysis.write import figure_names, write
from runlab.extras.classification import report
from runlab.extras.classification.report.predictions import read_predictions
from runlab.measure import Measure
from tests.analysis.synthetic import NLL, Accuracy, keep_curves, write_run
from tests.analysis.test_size import assert_compared_within, write_many_runs
from tests.extras.classification.report_runs import (
    SECTIONS,
    keep_predictions,
    write_predicting_run,
)


def write_classifier(
    sweep: Path, seed: int = 0, accuracy: Accuracy = 0.9, loss: str = "mse", **rest: object
) -> Path:
    return write_run(sweep, loss, 0.1, seed, accuracy, comparison={"sections": SECTIONS}, **rest)


def test_damaged_predictions_are_named_and_left_out(tmp_path: Path) -> None:
    for seed, predictions in enumerate([b"", b"PK", b"{"]):
        run = write_classifier(tmp_path, seed, name=f"damaged{seed}")
        (run / "predictions.npz").write_bytes(predictions)
    warnings = compare(tmp_path).warnings
    for seed in range(3):
        assert any(
            each.startswith(f"damaged{seed}: its predictions.npz can't") for each in warnings
        )


def test_whatever_bit_of_kept_predictions_flips_the_others_are_compared(tmp_path: Path) -> None:
    """Also what a reader of zip, of zlib or of NumPy's files raises, of which there is much."""
    run = write_classifier(tmp_path)
    arrays = {"label": np.zeros(300, np.uint8), "predicted": np.ones(300, np.uint8)}
    np.savez_compressed(
        run / "predictions.npz", **arrays, confidence=np.linspace(0, 1, 300, dtype=np.float32)
    )
    content = (run / "predictions.npz").read_bytes()
    rng, named = np.random.default_rng(0), 0
    for bit in rng.choice(8 * len(content), 200, replace=False):
        damaged = bytearray(content)
        damaged[bit // 8] ^= 1 << (bit % 8)
        (run / "predictions.npz").write_bytes(damaged)
        read, problems = read_predictions(tmp_path, [run.name])
        assert len(read) + len(problems) == 1
        named += len(problems)
    assert named > 150


@pytest.mark.parametrize("confidence", [-0.5, 1.5, np.inf])
def test_a_confidence_that_is_none_is_named(tmp_path: Path, confidence: float) -> None:
    run = write_classifier(tmp_path)
    keep_predictions(run, np.ones(10, bool), confidence)
    [told] = read_predictions(tmp_path, [run.name])[1]
    assert told.endswith("its predictions.npz can't be used: expected a confidence from 0 to 1")


def test_without_predictions_tables_are_empty(tmp_path: Path) -> None:
    write_classifier(tmp_path)
    tables = compare(tmp_path).tables
    assert tables["reliability"].empty
    assert tables["confusion"].empty


def test_reliability_by_hand(tmp_path: Path) -> None:
    confidence = np.repeat([0.95, 0.5], 50)
    for seed, right in enumerate((45, 35)):
        run = write_classifier(tmp_path, seed)
        correct = np.concatenate([np.arange(50) < right, np.arange(50) < 25])
        keep_predictions(run, correct, confidence)
    bins = compare(tmp_path).tables["reliability"].set_index("bin_low")
    assert bins.index.tolist() == pytest.approx([7 / 15, 14 / 15])
    assert bins["images"].tolist() == [100, 100]
    assert bins["accuracy"].tolist() == pytest.approx([0.5, 0.8])
    assert bins["confidence"].tolist() == pytest.approx([0.5, 0.95])
    # 0.9 and 0.7: sd 0.141421, t(0.975, 1) = 12.706205: ±1.270620
    assert bins["accuracy_high"].iloc[1] == pytest.approx(2.070620, abs=1e-6)


def test_confusion_counts_errors_in_the_mean_over_runs(tmp_path: Path) -> None:
    for seed, wrong in enumerate((3, 5)):
        run = write_classifier(tmp_path, seed)
        correct = np.ones(100, dtype=bool)
        correct[: 10 * wrong : 10] = False  # of class 0, taken for 1
        keep_predictions(run, correct)
    counts = compare(tmp_path).tables["confusion"].set_index(["truth", "predicted"])
    assert counts.loc[(0, 1), ["images", "share"]].tolist() == pytest.approx([4, 0.4])
    assert counts.loc[(0, 0), "images"] == pytest.approx(6)
    assert counts["images"].sum() == pytest.approx(100)


def both_arms(sweep: Path, images: int = 1_000) -> None:
    random = np.random.default_rng(0)
    difficult = random.random(images)
    for loss, skill in (("cross_entropy", 0.95), ("mse", 0.92)):
        for seed in range(6):
            correct = difficult + 0.05 * random.normal(size=images) < skill
            run = write_classifier(sweep, seed, float(correct.mean()), loss)
            keep_predictions(run, correct)


def test_images_add_to_the_uncertainty_of_seeds(tmp_path: Path) -> None:
    both_arms(tmp_path)
    row = compare(tmp_path).differences.iloc[0]
    assert row["samples_low"] < row["low"] < row["difference"] < row["high"] < row["samples_high"]


def test_runs_on_other_images_are_not_paired_by_image(tmp_path: Path) -> None:
    both_arms(tmp_path)
    folder = tmp_path / "loss=mse,lr=0.1,seed=0"
    kept = dict(np.load(folder / "predictions.npz"))
    np.savez(folder / "predictions.npz", **(kept | {"label": np.roll(kept["label"], 1)}))
    assert np.isnan(compare(tmp_path).differences["samples_low"].iloc[0])


def test_a_chosen_run_without_predictions_is_named(tmp_path: Path) -> None:
    both_arms(tmp_path)
    (tmp_path / "loss=mse,lr=0.1,seed=0" / "predictions.npz").unlink()
    comparison = compare(tmp_path)
    assert np.isnan(comparison.differences["samples_low"].iloc[0])
    expected = "1 run of the chosen cells kept no predictions: loss=mse,lr=0.1,seed=0"
    assert expected in comparison.warnings


def test_a_nan_confidence_is_no_reason_to_fail(tmp_path: Path) -> None:
    run = write_classifier(tmp_path, 0, 0.1, status="diverged")
    keep_predictions(run, np.zeros(20, dtype=bool), np.full(20, np.nan))
    assert compare(tmp_path).tables["reliability"]["confidence"].tolist() == [0]


def test_the_probability_formula_is_named(tmp_path: Path) -> None:
    write_classifier(tmp_path)
    comparison = compare(tmp_path)
    assert comparison.arms["module/probability_formula"].tolist() == ["softmax(z)"]
    assert "| mse | softmax(z) | 1 |" in (write(comparison) / "comparison.md").read_text()


def test_too_few_seeds_have_no_interval_over_images(tmp_path: Path) -> None:
    both_arms(tmp_path)
    for loss in ("mse", "cross_entropy"):
        (tmp_path / f"loss={loss},lr=0.1,seed=5" / "run.json").unlink()
    assert np.isnan(compare(tmp_path).differences["samples_low"].iloc[0])


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
    run = write_classifier(tmp_path)
    confidence = np.ones(arrays["label"].shape, np.float32)
    np.savez(run / "predictions.npz", confidence=confidence, **arrays)
    [warning] = [each for each in compare(tmp_path).warnings if "predictions" in each]
    assert warning.endswith("expected label, predicted and confidence of the same images")


@pytest.fixture(scope="module")
def comparison(tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    """Three losses with one run each, which kept predictions of 200 images."""
    sweep = tmp_path_factory.mktemp("sweep")
    for loss in ("cross_entropy", "mse", "focal"):
        run = write_classifier(sweep, loss=loss)
        keep_curves(run, [0.8, 0.9])
        keep_predictions(run, np.arange(200) % 9 != 0)
    comparison = compare(sweep)
    write(comparison)
    return comparison


@pytest.mark.long
def test_figures_are_written_and_stand_in_page_and_markdown(comparison: Comparison) -> None:
    page = (comparison.folder / "comparison.html").read_text()
    text = (comparison.folder / "comparison.md").read_text()
    for name in ("reliability", "confusion", "gradients"):
        assert (comparison.folder / f"{name}.png").exists()
        assert f'<figure id="{name}">' in page
        assert f"]({name}.svg)" in text
    assert "Of the test images given a confidence, the share that is right." in page
    assert figure_names(comparison)[4:] == ["reliability", "confusion", "gradients"]


@pytest.mark.long
def test_page_names_each_arms_quality_and_how_its_probabilities_are_made(
    comparison: Comparison,
) -> None:
    page = (comparison.folder / "comparison.html").read_text()
    part = page.split('<h2 id="calibration">')[1].split("</section>")[0]
    assert part.count("softmax(z)") == 3
    assert part.count("<td>0.2000</td>\n<td>0.1000</td>\n<td>0.0100</td>") == 3
    for title in ("NLL", "Brier score", "ECE", "probabilities are"):
        assert f">{title}</th>" in part
    assert page.index('id="speed"') < page.index('id="calibration"') < page.index('id="why"')


def test_quality_has_an_interval_over_seeds(tmp_path: Path) -> None:
    for seed, nll in enumerate((0.1, 0.2, 0.3)):
        write_classifier(tmp_path, seed, metrics={"test/nll": nll})
    # sd 0.1, t(0.975, 2) = 4.302653: ±0.248414
    text = (write(compare(tmp_path)) / "comparison.md").read_text()
    assert "| mse | softmax(z) | 3 | 0.2000 [−0.0484, 0.4484] | 0.1000 [0.1000, 0.1000] |" in text


def test_a_classifier_with_another_primary_measure_needs_no_other_report(tmp_path: Path) -> None:
    macro_f1 = Measure("f1", "macro F1", scale=100.0, unit="%", higher_is_better=True)
    metrics = {"val/f1": 0.9, "test/f1": 0.8}
    run = write_classifier(tmp_path, measures=(macro_f1, NLL), metrics=metrics, module={})
    keep_predictions(run, np.arange(200) % 9 != 0)
    comparison = compare(tmp_path)
    text = (write(comparison) / "comparison.md").read_text()
    assert "| arm | probabilities | n | NLL [95%] |" in text
    assert "| mse | not recorded | 1 | 0.2000 |" in text
    assert (comparison.folder / "reliability.png").exists()


def test_only_accuracy_is_the_mean_of_right_images(tmp_path: Path) -> None:
    both_arms(tmp_path)
    assert np.isnan(compare(tmp_path, "nll").differences["samples_low"].iloc[0])


def test_the_report_imports_nothing_that_trains() -> None:
    """So that a comparison takes a second, without torch."""
    folder = Path(report.__file__).parent
    known = ("runlab.analysis", "runlab.measure", "runlab.text", report.__name__)
    for path in [*folder.glob("*.py"), folder.parent / "__init__.py"]:
        for node in ast.walk(ast.parse(path.read_text())):
            assert not isinstance(node, ast.Import) or "torch" not in node.names[0].name
            if isinstance(node, ast.ImportFrom) and str(node.module).startswith(("runlab", "loss")):
                assert str(node.module).startswith(known), path


@pytest.mark.long
def test_a_report_of_2000_runs_takes_little_time_and_memory(tmp_path: Path) -> None:
    write_many_runs(tmp_path, losses=4, seeds=50, write=write_predicting_run)
    assert_compared_within(tmp_path, seconds=60)
