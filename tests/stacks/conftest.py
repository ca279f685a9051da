from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from runlab.stacks import train_together
from runlab.train import train
from tests.compose import compose

Trained = dict[str, Any] | Exception | None


def train_in(folder: Path, *overrides: str) -> dict[str, Any] | None:
    folder.mkdir(parents=True, exist_ok=True)
    return train(compose(*overrides, folder=folder))


@pytest.fixture
def run(tmp_path: Path, tiny: list[str]) -> Callable[..., dict[str, Any] | None]:
    """Trains one run alone, in a folder of that name."""
    return lambda folder, *overrides: train_in(tmp_path / folder, *tiny, *overrides)


@pytest.fixture
def stack(tmp_path: Path, tiny: list[str]) -> Callable[..., list[Trained]]:
    """Trains together: for each folder's name the overrides of its run."""

    def train_all(
        runs: dict[str, list[str]], *common: str, size: int = 50, backend: str | None = None
    ) -> list[Trained]:
        tasks = [
            partial(train_in, tmp_path / folder, *tiny, *common, *own)
            for folder, own in runs.items()
        ]
        return train_together(tasks, size, backend)

    return train_all
