"""How hard images pull at a network's outputs, and what is kept of it."""

import math

import numpy as np
import pytest
import torch

from losslab.callbacks.output_gradient import output_gradient_norms
from losslab.losses import MSE, CrossEntropy, MSELogits
from runlab.train import train
from tests.callbacks.regression import scalars
from tests.callbacks.test_curves import rows
from tests.compose import compose


@pytest.fixture(scope="module")
def run(tmp_path_factory, tiny):
    def train_in(*overrides):
        folder = tmp_path_factory.mktemp("sweep") / "run"
        train(compose(*tiny, *overrides, folder=folder))
        return folder

    return train_in


def test_curves_average_it_over_the_epoch(run):
    folder = run("trainer.log_every_n_steps=1")
    tag = "train/output_gradient_norm"
    blocks = np.reshape(scalars(folder, tag), (2, 3)).mean(axis=1)  # 10 steps in blocks of 4
    assert [row[tag] for row in rows(folder)] == pytest.approx(blocks.tolist(), rel=1e-6)
    assert [row["val/accuracy"] for row in rows(folder)] == scalars(folder, "val/accuracy")


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


def test_wrong_images_pull_more_than_all_do(run):
    last = rows(run("optimizer.lr=0.005"))[-1]
    assert last["val/accuracy"] < 1
    assert last["val/output_gradient_norm_wrong"] > last["train/output_gradient_norm"]


def test_without_a_wrong_image_nothing_pulls(run):
    folder = run("trainer.max_epochs=4", "optimizer.lr=0.5")
    perfect = [row for row in rows(folder) if row["val/accuracy"] == 1]
    assert perfect
    assert {row["val/output_gradient_norm_wrong"] for row in perfect} == {0.0}
