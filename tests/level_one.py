"""LightningModules as Lightning's documentation writes them, which know nothing of the engine."""

import lightning as L
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from runlab.measure import Measure


class Shallow(L.LightningModule):
    measures = (Measure("loss", "loss"),)

    def __init__(self, lr: float = 0.1) -> None:
        super().__init__()
        self.lr = lr
        self.network = self.make_network()

    def make_network(self) -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(784, 10))

    def step(self, batch: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        images, labels = batch
        return cross_entropy(self.network(images.float() / 255), labels.long())

    def training_step(self, batch, batch_idx) -> torch.Tensor:
        return self.step(batch)

    def validation_step(self, batch, batch_idx):
        self.log("val_loss", self.step(batch))

    def test_step(self, batch, batch_idx):
        self.log("test_loss", self.step(batch))

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=self.lr)


class Deep(Shallow):
    def make_network(self) -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(784, 16), nn.ReLU(), nn.Linear(16, 10))
