"""A run on plain DataLoaders that was stopped sees its samples in the order of one that was not."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from omegaconf import open_dict
from torch.utils.data import DataLoader, Sampler

from runlab.blocks.sampler import EpochSampler
from runlab.data import Content, TensorData
from runlab.train import train
from tests.compose import compose
from tests.data.plain import Plain, Seeded, samples
from tests.runs.test_resume import STOP, Stop, weights

HERE = "tests.runs.test_loaders"
pytestmark = [
    # the engine ignores it, and pytest has filters of its own
    pytest.mark.filterwarnings("ignore:Using ModelCheckpoint with manual optimization"),
]


class Workers(Seeded):
    def train_dataloader(self) -> DataLoader:
        generator = torch.Generator().manual_seed(5)
        options: dict[str, Any] = {"num_workers": 1, "generator": generator}
        return DataLoader(samples(100, 0), batch_size=16, shuffle=True, **options)


class ByEpoch(Plain):
    """The public sampler, in workers, which ask for samples before Lightning sets the epoch."""

    def train_dataloader(self) -> DataLoader:
        sampler = EpochSampler(100, batch_size=16, seed=3)
        return DataLoader(samples(100, 0), batch_size=16, sampler=sampler, num_workers=1)


def noisy(inputs: torch.Tensor) -> torch.Tensor:
    return inputs + torch.rand(())


class Drawing(TensorData):
    """Its workers draw."""

    def __init__(self) -> None:
        options: dict[str, Any] = {"num_workers": 1, "transform": noisy, "batch_size": 15}
        super().__init__(test_size=20, loader="dataloader", **options)

    def read(self) -> Content:
        return Content(samples(125, 0).tensors)


class Hidden(Sampler[int]):
    """Its order comes from a generator that nobody can save."""

    def __init__(self) -> None:
        self.random = np.random.RandomState(0)

    def __iter__(self) -> Any:
        return iter(self.random.permutation(100).tolist())

    def __len__(self) -> int:
        return 100


class Unrestorable(Plain):
    def train_dataloader(self) -> DataLoader:
        return DataLoader(samples(100, 0), batch_size=16, sampler=Hidden())


def run(folder: Path, target: str, *overrides: str) -> dict[str, Any] | None:
    folder.mkdir(exist_ok=True)
    sizes = ["model.shape=[3]", "model.num_classes=2", "module.num_classes=2"]
    epochs = ["trainer=cpu", "trainer.max_epochs=3", "callback=[checkpoint]", "logger=none"]
    cfg = compose(*sizes, *epochs, *overrides, folder=folder)
    with open_dict(cfg):
        cfg.data = {"_target_": target}
    return train(cfg)


@pytest.mark.long
@pytest.mark.parametrize(
    "target",
    [
        *("tests.data.plain.Seeded", "tests.data.plain.Plain"),
        *(f"{HERE}.Workers", f"{HERE}.ByEpoch", f"{HERE}.Drawing"),
    ],
)
@pytest.mark.parametrize("place", [("epoch start", 2), ("fourth block", 1), ("fourth block", 0)])
def test_a_stopped_run_goes_on_in_the_same_order(tmp_path, target, place):
    often = ["+callback.last.every_n_train_steps=2", "model=linear"]
    run(tmp_path / "whole", target, *often)
    Stop.at(*place)
    with pytest.raises(SystemExit):
        run(tmp_path / "stopped", target, STOP, *often)
    entry = run(tmp_path / "stopped", target, STOP, *often)
    assert entry is not None
    assert entry["timing"]["resumed"] == 1
    ours, theirs = (weights(tmp_path / name, "last.ckpt") for name in ("stopped", "whole"))
    for name, value in theirs.items():
        assert torch.equal(ours[name], value), name


def test_an_order_that_no_checkpoint_keeps_is_warned_of(tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        run(tmp_path / "run", f"{HERE}.Unrestorable", "trainer.max_epochs=1")
    assert "Hidden.random is a numpy.random.mtrand.RandomState" in caplog.text
    assert "runlab.EpochSampler" in caplog.text
