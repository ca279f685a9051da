"""A LightningDataModule as Lightning's documentation writes it: loaders, and nothing else."""

import lightning as L
import torch
from torch.utils.data import DataLoader, TensorDataset


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


class Seeded(Plain):
    """Shuffles by a generator of its own."""

    def train_dataloader(self) -> DataLoader:
        generator = torch.Generator().manual_seed(5)
        return DataLoader(samples(100, 0), batch_size=16, shuffle=True, generator=generator)
