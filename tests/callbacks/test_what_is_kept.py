"""What callbacks leave beside a run's record, for its comparison."""

import csv
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from losslab.callbacks.output_gradient import output_gradient_norms
from losslab.losses import MSE, CrossEntropy, MSELogits
from runlab.extras.classification.callbacks.predictions import interleaved
from runlab.train import train
from tests.compose import compose


@pytest.fixture(scope="module")
def trained(tmp_path_factory, tiny):
    folder = tmp_path_factory.mktemp("sweep") / "run"
    return folder, train(compose(*tiny, "trainer.log_every_n_steps=1", folder=folder))


def rows(folder: Path) -> list[dict[str, float]]:
    with (folder / "curves.csv").open() as file:
        return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]


def scalars(folder: Path, tag: str) -> list[float]:
    events = EventAccumulator(str(folder), size_guidance={"scalars": 0})
    events.Reload()
    return [event.value for event in events.Scalars(tag)]


def test_curves_have_a_row_for_each_validation(trained):
    folder, _ = trained
    assert [(row["epoch"], row["step"]) for row in rows(folder)] == [(1, 10), (2, 20)]
    accuracies = [row["val/accuracy"] for row in rows(folder)]
    assert accuracies == scalars(folder, "val/accuracy")


def test_curves_average_training_over_the_epoch(trained):
    folder, _ = trained
    for tag in ("train/loss", "train/gradient_norm", "train/output_gradient_norm"):
        blocks = np.reshape(scalars(folder, tag), (2, 3)).mean(axis=1)  # 10 steps in blocks of 4
        assert [row[tag] for row in rows(folder)] == pytest.approx(blocks.tolist(), rel=1e-6)


def test_curves_place_a_validation_within_an_epoch(tmp_path, tiny):
    train(compose(*tiny, "+trainer.val_check_interval=1", folder=tmp_path / "run"))
    epochs = [row["epoch"] for row in rows(tmp_path / "run")]
    assert epochs == pytest.approx([1 / 3, 2 / 3, 1, 4 / 3, 5 / 3, 2])


def test_predictions_are_those_that_were_tested(trained):
    folder, entry = trained
    kept = np.load(folder / "predictions.npz")
    accuracy = (kept["label"] == kept["predicted"]).mean()
    assert accuracy == pytest.approx(entry["metrics"]["test/accuracy"])
    assert kept["label"].dtype == np.uint8
    assert kept["confidence"].dtype == np.float32
    assert len(kept["confidence"]) == entry["metrics"]["test/images"]


def test_the_shares_of_two_ranks_are_one_whole_again(monkeypatch):
    whole = np.arange(5)

    def gather(shares, mine):
        shares[:] = [[whole[0::2]], [whole[1::2]]]

    monkeypatch.setattr(torch.distributed, "all_gather_object", gather)
    assert interleaved([whole[0::2]], 2)[0].tolist() == [0, 1, 2, 3, 4]


def confidently_wrong(gap: float) -> tuple[torch.Tensor, torch.Tensor]:
    outputs = torch.zeros(1, 10, dtype=torch.float64)
    outputs[0, 3] = gap
    return outputs, torch.tensor([7])


@pytest.mark.parametrize(
    ("loss", "expected"),
    [(CrossEntropy(), [1.370, 1.414, 1.414]), (MSE(), [5.98e-2, 4.8e-4, 2.2e-8])],
)
def test_mse_after_softmax_hardly_pulls_a_confidently_wrong_image(loss, expected):
    norms = [output_gradient_norms(loss, *confidently_wrong(gap)).item() for gap in (5, 10, 20)]
    assert norms == pytest.approx(expected, rel=0.01)


def test_the_norm_is_that_of_each_image_by_itself():
    outputs = torch.tensor([[1.0, 0.0], [0.0, 0.0], [3.0, 4.0]])
    labels = torch.tensor([0, 1, 0])
    norms = output_gradient_norms(MSELogits(), outputs, labels)  # ∂ℓ/∂z = z − y
    assert norms.tolist() == pytest.approx([0, 1, math.hypot(2, 4)])


def test_wrong_images_pull_more_than_all_do(tmp_path, tiny):
    train(compose(*tiny, "optimizer.lr=0.005", folder=tmp_path / "run"))
    last = rows(tmp_path / "run")[-1]
    assert last["val/accuracy"] < 1
    assert last["val/output_gradient_norm_wrong"] > last["train/output_gradient_norm"]


def test_without_a_wrong_image_nothing_pulls(tmp_path, tiny):
    train(compose(*tiny, "trainer.max_epochs=4", "optimizer.lr=0.5", folder=tmp_path / "run"))
    perfect = [row for row in rows(tmp_path / "run") if row["val/accuracy"] == 1]
    assert perfect
    assert {row["val/output_gradient_norm_wrong"] for row in perfect} == {0.0}
