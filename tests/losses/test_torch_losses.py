"""Losses of torch.nn by YAML alone: the mean over a batch, or refused."""

import lightning as L
import pytest
import torch
from hydra.utils import instantiate
from torch import nn

from runlab.components import build_module
from runlab.module import Module
from tests.compose import compose
from tests.test_schedules import QUIET, TRAINED

CLASSES = torch.tensor([0, 2, 1, 2])
LOSSES = {
    "label_smoothing": (torch.randn(4, 3), CLASSES),
    "nll": (torch.randn(4, 3).log_softmax(1), CLASSES),
    "bce_with_logits": (torch.randn(4, 3), torch.randint(0, 2, (4, 3)).float()),
    "huber": (torch.randn(4, 1), torch.randn(4, 1)),
    "l1": (torch.randn(4, 1), torch.randn(4, 1)),
    "squared_error": (torch.randn(4, 1), torch.randn(4, 1)),
}


@pytest.mark.parametrize("choice", LOSSES)
def test_a_loss_of_torch_is_the_mean_over_the_batch(choice):
    outputs, targets = LOSSES[choice]
    loss = instantiate(compose(f"loss={choice}").loss)
    assert type(loss).__module__.startswith("torch.nn")
    each = torch.stack([loss(outputs[i : i + 1], targets[i : i + 1]) for i in range(4)])
    torch.testing.assert_close(loss(outputs, targets), each.mean())


@pytest.mark.parametrize("reduction", ["sum", "none"])
def test_another_reduction_is_refused_before_training(tiny, reduction):
    cfg = compose(*tiny, "loss=label_smoothing", f"+loss.reduction={reduction}")
    with pytest.raises(ValueError, match=f"expected loss.reduction=mean, got {reduction}"):
        build_module(cfg)


class Sum(nn.Module):
    def forward(self, outputs, targets):
        return (outputs - targets).square().sum()


class OfPairs(nn.Module):
    """It depends on the rest of the batch, and is right to."""

    def forward(self, outputs, targets):
        return (outputs @ outputs.T).logsumexp(1).mean()


class OneEach(Module):
    def loss_step(self, batch, drawn):
        outputs = self.network(batch[0])
        return (outputs - batch[1]).square(), outputs


@pytest.mark.parametrize(
    ("loss", "told"),
    [
        (nn.MSELoss(), None),
        (OfPairs(), None),
        (Sum(), "the mean over its batch, got one that is twice as large"),
        (None, r"one number, the mean over the batch, got a tensor of shape \[4, 1\]"),
    ],
)
def test_a_loss_of_ones_own_is_tried_once(loss, told):
    kind = OneEach if loss is None else Module
    module = kind(nn.Linear(3, 1), loss, optimizer=lambda named: torch.optim.SGD(
        [p for _, p in named], lr=1e-4))  # fmt: skip
    trainer = L.Trainer(**QUIET, max_epochs=1)
    if told is None:
        trainer.fit(module, TRAINED, TRAINED)
        return
    with pytest.raises(ValueError, match=told):
        trainer.fit(module, TRAINED, TRAINED)
