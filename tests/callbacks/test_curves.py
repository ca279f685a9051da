"""Learning curves beside a run's record: a row for each validation."""

import csv
from pathlib import Path

import numpy as np
import pytest
from lightning.pytorch.loggers import TensorBoardLogger
from torch.utils.data import IterableDataset

from runlab.blocks.block import Block
from runlab.callbacks import Curves, GradientNorm
from runlab.callbacks.progress import Progress
from tests.callbacks.regression import BLOCKS, Regression, fit, samples, scalars


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


class Unsized(IterableDataset):
    """Ten steps an epoch, though it does not say so."""

    def __iter__(self):
        return iter([Block(*samples(steps, 16)) for steps in BLOCKS])


@pytest.mark.parametrize("shown", [False, True])
def test_curves_count_epochs_of_data_without_a_length(tmp_path, shown):
    fit(Regression(), Curves(tmp_path), *[Progress()] * shown, train=Unsized())
    assert [(row["epoch"], row["step"]) for row in rows(tmp_path)] == [(1, 10), (2, 20)]


def test_epochs_of_such_data_are_whole_ones(tmp_path):
    fit(Regression(), Curves(tmp_path), train=Unsized(), val_check_interval=1)
    assert [row["epoch"] for row in rows(tmp_path)] == [0, 0, 1, 1, 1, 2]


def test_curves_place_a_validation_within_an_epoch(tmp_path):
    fit(Regression(), Curves(tmp_path), val_check_interval=1)
    epochs = [row["epoch"] for row in rows(tmp_path)]
    assert epochs == pytest.approx([1 / 3, 2 / 3, 1, 4 / 3, 5 / 3, 2])
