"""Sections: what they add to a comparison, and what becomes of it without them."""

from pathlib import Path

import numpy as np
import pytest

from runlab.analysis.compare import compare
from runlab.analysis.comparison import Comparison
from runlab.analysis.palette import known_styles
from runlab.analysis.rebuild import rebuild
from runlab.analysis.section import Section, load_sections
from runlab.analysis.write import figure_names, write
from runlab.config.targets import TRUST
from tests.analysis.sections import EXTRA, SCORES, keep_scores
from tests.analysis.synthetic import write_run
from tests.attacks import CALLED, attacks
from tests.compose import compose

HERE = "tests.analysis.test_section"
ABSENT = "runlab.extras.nowhere.Section"


def write_scored_runs(sweep: Path, seeds: int = 6, samples: int = 300) -> None:
    """Whether a sample is right depends on the sample, the arm and a little chance."""
    random = np.random.default_rng(0)
    difficulty, targets = random.random(samples), np.arange(samples) % 7
    for loss, skill in (("cross_entropy", 0.95), ("mse", 0.92)):
        for seed in range(seeds):
            right = difficulty + 0.05 * random.normal(size=samples) < skill
            accuracy, comparison = float(right.mean()), {"sections": [SCORES]}
            run = write_run(sweep, loss, 0.1, seed, accuracy, comparison=comparison)
            keep_scores(run, right, targets)


def samples_interval(sweep: Path) -> tuple[float, float]:
    low, high = compare(sweep).differences[["samples_low", "samples_high"]].iloc[0]
    return low, high


def test_samples_add_to_the_uncertainty_of_seeds(tmp_path: Path) -> None:
    write_scored_runs(tmp_path)
    row = compare(tmp_path).differences.iloc[0]
    assert row["samples_low"] < row["low"] < row["difference"] < row["high"] < row["samples_high"]


def test_runs_on_other_samples_are_not_paired_by_sample(tmp_path: Path) -> None:
    write_scored_runs(tmp_path)
    keep_scores(tmp_path / "loss=mse,lr=0.1,seed=0", np.ones(300), np.arange(300) % 5)
    assert np.isnan(samples_interval(tmp_path)).all()


def test_without_the_scores_of_one_run_there_is_no_interval(tmp_path: Path) -> None:
    write_scored_runs(tmp_path)
    (tmp_path / "loss=mse,lr=0.1,seed=0" / "scores.json").unlink()
    assert np.isnan(samples_interval(tmp_path)).all()
    expected = "1 run of the chosen cells kept no scores: loss=mse,lr=0.1,seed=0"
    assert expected in compare(tmp_path).warnings


def test_too_few_seeds_have_no_interval_over_samples(tmp_path: Path) -> None:
    write_scored_runs(tmp_path, seeds=5)
    assert np.isnan(samples_interval(tmp_path)).all()


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    sweep = tmp_path_factory.mktemp("sweep")
    for width in range(1, 15):
        config = {"model": {"width": width}, "comparison": {"sections": [EXTRA, SCORES]}}
        write_run(sweep, "mse", 0.1, 0, 0.9 + width / 1_000, name=f"{width}", config=config)
    (sweep / "comparison").mkdir()
    (sweep / "comparison" / "stored.svg").write_text("<svg>stored</svg>")
    return sweep


@pytest.fixture(scope="module")
def comparison(sweep: Path) -> Comparison:
    comparison = compare(sweep)
    write(comparison)
    return comparison


@pytest.mark.long
def test_a_sections_tables_hold_all_arms_and_show_as_many_as_the_rest(
    comparison: Comparison,
) -> None:
    assert len(comparison.tables["extra"]) == 14
    assert len(comparison.shown().tables["extra"]) == 12
    assert "an extra warning" in comparison.warnings


@pytest.mark.long
def test_a_section_has_its_place_in_page_and_markdown(comparison: Comparison) -> None:
    page = (comparison.folder / "comparison.html").read_text()
    assert '<a href="#extra-part">An extra part</a>' in page
    speed, extra, naive = (page.index(f'<h2 id="{id}">') for id in ("speed", "extra-part", "naive"))
    assert speed < extra < naive
    assert "12 arms, of which the first is" in page
    assert "What is drawn, &amp; why" in page
    text = (comparison.folder / "comparison.md").read_text()
    part = text.split("## An extra part\n\n")[1].split("\n\n## Naive: ")[0]
    assert part == "12 extra\n\n![A line](extra.svg)\n\n![A figure that lay there](stored.svg)"


def test_a_section_that_shows_nothing_is_nowhere(comparison: Comparison) -> None:
    assert (comparison.folder / "comparison.html").read_text().count("<section") == 10
    assert "## \n" not in (comparison.folder / "comparison.md").read_text()


def test_a_sections_figures_are_written_and_a_stored_one_is_left_alone(
    comparison: Comparison,
) -> None:
    names = ["sensitivity", "learning_curves", "paired", "grid", "extra", "stored"]
    assert figure_names(comparison) == names
    assert (comparison.folder / "extra.png").read_bytes().startswith(b"\x89PNG")
    assert (comparison.folder / "stored.svg").read_text() == "<svg>stored</svg>"
    assert not (comparison.folder / "stored.png").exists()


class Demanding(Section):
    def __init__(self, wanted: int) -> None:
        self.wanted = wanted


class Failing(Section):
    def __init__(self) -> None:
        raise RuntimeError("not\ntoday")


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        (ABSENT, "cannot import comparison.sections=runlab.extras.nowhere"),
        ("runlab.analysis.section.Nothing", "cannot import comparison.sections=runlab.analysis"),
        ("Nothing", "expected comparison.sections as a dotted name, package.module.Name, got"),
        ("pathlib.Path", "expected comparison.sections to name a class derived from Section, got"),
        ("runlab.text.plural", "expected comparison.sections to name a class derived from Sect"),
        ("losslab.Classifier", "expected comparison.sections to name a class derived from Section"),
        ("torch.tensor", "expected comparison.sections to name a class derived from Section, got"),
        ("torchvision.models.ResNet", "expected comparison.sections to name a class derived from"),
        ("losslab.schedulers.cosine", "expected comparison.sections to name a class derived from"),
        (f"{HERE}.Demanding", "expected to make it without arguments, got TypeError: Demanding."),
        (f"{HERE}.Failing", "expected to make it without arguments, got RuntimeError: not today"),
    ],
)
def test_what_cannot_be_a_section_any_more_is_left_out_with_a_warning(
    tmp_path: Path, name: str, problem: str
) -> None:
    write_run(tmp_path, "mse", 0.1, 0, comparison={"sections": [name, EXTRA]})
    comparison = compare(tmp_path)
    [warning] = [each for each in comparison.warnings if "left out" in each]
    assert warning.startswith(f"the section {name} is left out: {problem}")


def test_what_the_user_trusts_has_to_be_a_section_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(TRUST, "builtins.dict")
    write_run(tmp_path, "mse", 0.1, 0, comparison={"sections": ["builtins.dict"]})
    [warning] = [each for each in compare(tmp_path).warnings if "left out" in each]
    assert warning == "the section builtins.dict is left out: expected a Section, got a dict"


def test_a_received_sweep_calls_nothing_that_it_names(tmp_path: Path) -> None:
    targets = [each["_target_"] for each in attacks(tmp_path).values()]
    names = [each for each in targets if isinstance(each, str)]  # no record holds another
    write_run(tmp_path / "sweep", "mse", 0.1, 0, comparison={"sections": names, "outputs": names})
    comparison = rebuild(tmp_path / "sweep")
    left_out = [each for each in comparison.warnings if "left out" in each]
    assert len(left_out) == 2 * len(set(names))
    assert not (tmp_path / CALLED).exists()


def test_without_a_section_the_page_is_written_with_the_others(tmp_path: Path) -> None:
    write_run(tmp_path, "mse", 0.1, 0, comparison={"sections": [ABSENT, EXTRA]})
    folder = write(compare(tmp_path))
    assert "An extra part" in (folder / "comparison.html").read_text()
    assert f"- the section {ABSENT} is left out" in (folder / "comparison.md").read_text()


def test_a_section_of_which_nothing_is_overridden_does_nothing(tmp_path: Path) -> None:
    write_run(tmp_path, "mse", 0.1, 0)
    plain = compare(tmp_path)
    write(plain)
    files = {path.name: path.read_bytes() for path in plain.folder.iterdir()}
    bare = f"{Section.__module__}.{Section.__name__}"
    write_run(tmp_path / "same", "mse", 0.1, 0, comparison={"sections": [bare]})
    (tmp_path / "same").rename(tmp_path / "again")
    comparison = compare(tmp_path / "again")
    assert comparison.warnings == plain.warnings
    assert {path.name for path in write(comparison).iterdir()} == set(files)


def test_sections_of_all_runs_are_taken_together(tmp_path: Path) -> None:
    for seed, sections in enumerate(([SCORES], [EXTRA, SCORES], [])):
        write_run(tmp_path, "mse", 0.1, seed, comparison={"sections": sections})
    assert compare(tmp_path).sections == (SCORES, EXTRA)


def test_what_the_configuration_names_can_be_imported_and_drawn() -> None:
    declared = compose("comparison.margin=0.3").comparison
    assert declared.margin == 0.3
    assert load_sections(declared.sections)[1] == []
    assert list(known_styles(declared.arm_styles)) == list(declared.arm_styles)
