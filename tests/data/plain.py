"""A LightningDataModule as Lightning's documentation writes it: loaders, and nothing else."""

from typing import Any

import lightning as L
import torch
from torch.utils.data import DataLoader, TensorDataset

from runlab.measure import Measure


def samples(count: int, seed: int) -> TensorDataset:
    """Two classes that a line divides: inputs [samples, 3], labels [samples]."""
    inputs = torch.randn(count, 3, generator=torch.Generator().manual_seed(seed))
    return TensorDataset(inputs, (inputs.sum(dim=1) > 0).long())


class Plain(L.LightningDataModule):
    def train_dataloader(self) -> DataLoader:
        return DataLoader(samples(100, 0), batch_size=16, shuffle=True)

    def val_dataloader(self) -> DataLoader:
        return DataLoader(samples(50, 1), batch_size=25)

    def test_dataloader(self) -> DataLoader:
        return DataLoader(samples(50, 2), batch_size=25)


class Rooted(Plain):
    """Says where its data lie, but has no checksum of them."""

    def __init__(self, root: str) -> None:
        super().__init__()
        self.root = root


class Dictionaries(Plain):
    """Batches are dicts, as of other libraries' data sets."""

    def train_dataloader(self) -> DataLoader:
        return DataLoader(rows(100, 0), batch_size=16, shuffle=True)

    def val_dataloader(self) -> DataLoader:
        return DataLoader(rows(50, 1), batch_size=25)

    def test_dataloader(self) -> DataLoader:
        return DataLoader(rows(50, 2), batch_size=25)


def rows(count: int, seed: int) -> Any:
    return [{"x": x, "label": y} for x, y in samples(count, seed)]


class OnDictionaries(L.LightningModule):
    """A module of Lightning's own kind, for such batches."""

    measures = (Measure("loss", "loss"),)

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(3, 2)

    def training_step(self, batch: dict[str, torch.Tensor], batch_index: int) -> torch.Tensor:
        return torch.nn.functional.cross_entropy(self.layer(batch["x"]), batch["label"])

    def validation_step(self, batch: dict[str, torch.Tensor], batch_index: int) -> None:
        self.log("val_loss", self.training_step(batch, batch_index))

    def test_step(self, batch: dict[str, torch.Tensor], batch_index: int) -> None:
        self.log("test_loss", self.training_step(batch, batch_index))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.5)


class Seeded(Plain):
    """Shuffles by a generator of its own."""

    def train_dataloader(self) -> DataLoader:
        generator = torch.Generator().manual_seed(5)
        return DataLoader(samples(100, 0), batch_size=16, shuffle=True, generator=generator)
