"""Learning curves beside a run's record: a row for each validation."""

import csv
from pathlib import Path

import numpy as np
import pytest
from lightning.pytorch.loggers import TensorBoardLogger

from runlab.callbacks import Curves, GradientNorm
from tests.callbacks.regression import Regression, fit, scalars


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    logger = TensorBoardLogger(folder, name="", version="")
    fit(Regression(), GradientNorm(), Curves(folder), logger=logger)
    return folder


def rows(folder: Path) -> list[dict[str, float]]:
    with (folder / "curves.csv").open() as file:
        return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]


def test_curves_have_a_row_for_each_validation(trained):
    assert [(row["epoch"], row["step"]) for row in rows(trained)] == [(1, 10), (2, 20)]
    assert [row["val/loss"] for row in rows(trained)] == scalars(trained, "val/loss")


@pytest.mark.parametrize("tag", ["train/loss", "train/gradient_norm"])
def test_curves_average_training_over_the_epoch(trained, tag):
    blocks = np.reshape(scalars(trained, tag), (2, 3)).mean(axis=1)  # 10 steps in blocks of 4
    assert [row[tag] for row in rows(trained)] == pytest.approx(blocks.tolist(), rel=1e-6)


def test_curves_place_a_validation_within_an_epoch(tmp_path):
    fit(Regression(), Curves(tmp_path), val_check_interval=1)
    epochs = [row["epoch"] for row in rows(tmp_path)]
    assert epochs == pytest.approx([1 / 3, 2 / 3, 1, 4 / 3, 5 / 3, 2])
