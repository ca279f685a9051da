"""How a run ends: finished, diverged (not finite) or collapsed (it guesses), by literal cases."""

import pytest
import torch

from losslab.metrics import Chance, is_guess
from losslab.regressor import Regressor


def measured(accuracy: float, chance: float, samples: int = 5000) -> dict[str, float]:
    return {"val/accuracy": accuracy, "val/chance": chance, "val/samples": samples}


@pytest.mark.parametrize(
    ("last", "best", "expected"),
    [
        (measured(1 / 3, 1 / 3), measured(1 / 3, 1 / 3), True),  # 3 equal classes, guessed
        (measured(0.36, 1 / 3), measured(0.36, 1 / 3), False),  # and learned, if not much
        (measured(0.33, 0.22), measured(0.33, 0.22), False),  # 80, 10 and 10%, the rare ones found
        (measured(0.9, 0.9), measured(0.9, 0.9), True),  # always the class that 90% are
        (measured(0.91, 0.87), measured(0.91, 0.87), False),
        (measured(0.1, 0.001), measured(0.1, 0.001), False),  # of 1,000 classes
        (measured(0.206, 0.1), measured(0.97, 0.1), True),  # fallen back
        (measured(0.96, 0.1), measured(0.97, 0.1), False),
        (measured(0.1135, 0.1135, 10_000), measured(0.1135, 0.1135, 10_000), True),  # all ones
        (measured(0.105, 0.1), measured(0.105, 0.1), True),  # within two standard errors, 0.85%
        (measured(0.110, 0.1), measured(0.110, 0.1), False),
        (measured(0.105, 0.1, 50_000), measured(0.105, 0.1, 50_000), False),
        (measured(0.1, 0.1, 30), measured(0.1, 0.1, 30), True),  # the fewest that judge
        (measured(1.0, 1.0, 1), measured(1.0, 1.0, 1), False),  # all right, or wrong: not judged
        (measured(0.0, 0.0, 1), measured(0.0, 0.0, 1), False),
        (measured(1.0, 0.5, 2), measured(1.0, 0.5, 2), False),
        (measured(0.8, 0.56, 5), measured(1.0, 0.52, 5), False),
        (measured(0.4, 0.4, 5), measured(1.0, 0.2, 5), False),  # tested by its best weights
        (measured(1.0, 1.0), measured(1.0, 1.0), False),  # all are of one class
        (measured(1.0, 0.9801, 100), measured(1.0, 0.9801, 100), False),  # all but one
    ],
)  # fmt: skip
def test_a_classifier_collapsed_if_it_guesses_or_lost_most_of_what_it_knew(last, best, expected):
    assert is_guess(last, best) is expected


def test_chance_is_the_accuracy_of_whoever_names_the_classes_as_often_and_knows_nothing():
    chance, labels = Chance(num_classes=3), torch.tensor([0, 0, 0, 1, 2])
    for part in (slice(2), slice(2, 5)):
        chance.update(torch.tensor([[0.2, 0.5, 0.3]]).expand(5, 3)[part], labels[part])
    assert chance.compute() == pytest.approx(1 / 5), "always the class 1"
    chance.reset()
    chance.update(torch.eye(3)[labels], labels)
    assert chance.compute() == pytest.approx((9 + 1 + 1) / 25)


@pytest.mark.parametrize(
    ("last", "best", "expected"),
    [(0.0, 0.0, True), (-0.1, 0.9, True), (0.4, 0.9, True), (0.8, 0.9, False), (0.1, 0.1, False)],
)
def test_a_regressor_collapsed_if_it_predicts_the_mean_or_lost_most_of_what_it_knew(
    last, best, expected
):
    module = Regressor(torch.nn.Linear(1, 1), torch.nn.MSELoss(), optimizer=None)
    assert module.has_collapsed({"val/r2": last}, {"val/r2": best}) is expected
