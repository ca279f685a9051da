"""Sweeps of any size, made and not trained: they are what a real sweep is to who reads them."""

import re
from pathlib import Path

import pytest

from runlab.analysis.compare import compare
from runlab.analysis.write import write
from runlab.runs import alike, record
from runlab.sweeps.status import sweep_status
from tests.growth import grow, train_templates

pytestmark = pytest.mark.long

RATES = ("0.05", "0.1", "0.2")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    home = tmp_path_factory.mktemp("home")
    return train_templates(home, "real", ("cross_entropy", "mse"), home / "data")


@pytest.fixture(scope="module")
def grown(tmp_path_factory: pytest.TempPathFactory, trained: list[Path]) -> Path:
    """2 losses at 3 rates with 8 seeds."""
    sweep = tmp_path_factory.mktemp("sweeps") / "grown"
    sweep.mkdir()
    assert grow(sweep, trained, RATES, seeds=8) == 48
    return sweep


def test_a_run_has_the_files_of_a_trained_one(trained: list[Path], grown: Path) -> None:
    def files(folder: Path) -> set[str]:
        return {str(path.relative_to(folder)) for path in folder.rglob("*")}

    known = [files(run) for run in trained]
    assert all(files(run) in known for run in record.folders(grown))


def test_its_record_is_sound_and_its_own(grown: Path) -> None:
    runs = record.folders(grown)
    records = [record.read(run) for run in runs]
    assert [alike.read(run) for run in runs] == records
    assert len({each["fingerprint"] for each in records}) == len(runs)
    assert all(record.read_complete(run) for run in runs)


def test_status_counts_what_has_ended(grown: Path) -> None:
    assert "48/48" in sweep_status(grown).line(100)


def test_it_is_compared_without_a_warning_that_real_runs_do_not_have(
    trained: list[Path], grown: Path
) -> None:
    comparison = compare(grown)
    write(comparison)
    assert comparison.cells["n"].eq(8).all()
    assert not comparison.tables["confusion"].empty
    known, found = compare(trained[0].parent).warnings, comparison.warnings
    assert {without_numbers(each) for each in found} <= {without_numbers(each) for each in known}


def without_numbers(sentence: str) -> str:
    return re.sub(r"\d+", "0", sentence)
