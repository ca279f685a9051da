"""After which validations callbacks draw, what loggers get, and what TensorBoard alone is shown."""

import io
from typing import Any

import lightning as L
import numpy as np
import pytest
import torch
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from lightning.pytorch.loggers.logger import DummyLogger
from PIL import Image

from runlab.callbacks import Graph, Histograms
from runlab.callbacks.canvas import Canvas
from runlab.callbacks.pictures import is_scheduled, log_picture, should_draw, shows_pictures
from tests.callbacks.regression import Regression, events, fit


class Draw(L.Callback):
    """Draws a white picture, and counts how often."""

    count = 0

    def on_validation_end(self, trainer, pl_module):
        if should_draw(trainer):
            self.count += 1
            log_picture(trainer, "picture", Canvas(30, 40, np.full((1, 3), 255, np.uint8)))


@pytest.fixture
def tensorboard(tmp_path):
    return TensorBoardLogger(tmp_path, name="", version="")


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"epochs": 12}, [20, 40, 60, 80, 100, 120]),
        ({"epochs": 11}, [20, 40, 60, 80, 100, 110]),
        ({"epochs": 7, "val_check_interval": 2}, [8, 18, 28, 38, 48, 58, 68]),
        ({"epochs": 4, "val_check_interval": 1}, [8, 14, 20, 28, 34, 40]),
        ({"epochs": 5, "check_val_every_n_epoch": 2}, [20, 40]),
        ({"epochs": 5, "check_val_every_n_epoch": None, "val_check_interval": 5}, [18, 34, 50]),
    ],
)
def test_at_most_ten_validations_are_drawn_and_the_last_one(
    tmp_path, tensorboard, options, expected
):
    fit(Regression(), Draw(), logger=tensorboard, **options)
    shown = events(tmp_path).Images("picture")
    assert [picture.step for picture in shown] == expected
    with Image.open(io.BytesIO(shown[0].encoded_image_string)) as picture:
        assert picture.size == (40, 30)


def test_all_validations_are_drawn_where_a_runs_length_is_not_known():
    assert is_scheduled(L.Trainer(max_steps=5, accelerator="cpu", logger=False))


def test_all_validations_are_drawn_where_they_come_by_the_clock():
    trainer = L.Trainer(max_epochs=2, accelerator="cpu", logger=False)
    trainer.fit_loop.max_batches, trainer.val_check_batch = 10, None  # as Lightning leaves them
    assert is_scheduled(trainer)


def test_a_logger_of_nothing_shows_no_pictures():
    assert not shows_pictures(DummyLogger())


def test_nothing_is_drawn_for_loggers_that_show_no_pictures(tmp_path):
    draw = Draw()
    fit(Regression(), draw, logger=CSVLogger(tmp_path))
    assert draw.count == 0


class Album(CSVLogger):
    """Has Lightning's `log_image`, as WandbLogger."""

    def __init__(self, save_dir: Any) -> None:
        super().__init__(save_dir)
        self.shown: list[Any] = []

    def log_image(self, key: str, images: list[Any], step: int | None = None) -> None:
        self.shown.append((key, step, images[0].size))


def test_loggers_with_log_image_are_given_pictures(tmp_path):
    album = Album(tmp_path)
    fit(Regression(), Draw(), logger=album)
    assert album.shown == [("picture", 10, (40, 30)), ("picture", 20, (40, 30))]


def test_a_networks_graph_and_histograms_of_its_parameters_are_shown(tmp_path, tensorboard):
    fit(Regression(), Histograms(), Graph(), logger=tensorboard)
    found = events(tmp_path)
    parameters = [f"layers.{layer}.{kind}" for layer in (0, 2) for kind in ("weight", "bias")]
    expected = {f"{of}/{name}" for of in ("weights", "gradients") for name in parameters}
    assert set(found.Tags()["histograms"]) == expected
    assert [each.step for each in found.Histograms("gradients/layers.0.bias")] == [10, 20]
    assert found.Tags()["graph"]


@pytest.mark.parametrize("values", [[1e20, -3e38, 1.0], [1e20, 1e30, torch.nan]])
def test_values_beyond_tensorboards_scale_are_left_out_of_histograms(tmp_path, tensorboard, values):
    trainer = L.Trainer(accelerator="cpu", logger=tensorboard)
    tensors = {"w": torch.tensor(values), "v": torch.full((9,), 1e19)}
    Histograms().add_histograms(trainer, "weights", tensors)
    tensorboard.experiment.close()
    found = events(tmp_path)
    assert found.Histograms("weights/v")[0].histogram_value.num == 9
    assert ("weights/w" in found.Tags()["histograms"]) == (1.0 in values)
