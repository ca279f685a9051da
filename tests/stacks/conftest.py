from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from runlab.stacks import train_together
from runlab.train import train
from tests.compose import compose

Trained = dict[str, Any] | Exception | None

BARE = ["logger=none", "callback=[checkpoint,stop_on_divergence]"]
"""A run that draws and logs nothing is over in half the time."""

FULL = ["logger=tensorboard", "callback=default"]


def train_in(folder: Path, *overrides: str) -> dict[str, Any] | None:
    folder.mkdir(parents=True, exist_ok=True)
    chosen = {override.partition("=")[0] for override in overrides}
    bare = [each for each in BARE if each.partition("=")[0] not in chosen]
    return train(compose(*overrides, *bare, folder=folder))


@pytest.fixture(autouse=True)
def _one_core(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each stack is traced once, not once a core; tests of threads say how many there are."""
    monkeypatch.setattr("runlab.stacks.scheduler.available_cores", lambda: 1)


@pytest.fixture
def run(tmp_path: Path, tiny: list[str]) -> Callable[..., dict[str, Any] | None]:
    """Trains one run alone, in a folder of that name."""
    return lambda folder, *overrides: train_in(tmp_path / folder, *tiny, *overrides)


@pytest.fixture(scope="session")
def alone(tmp_path_factory: pytest.TempPathFactory, tiny: list[str]) -> Callable[..., Path]:
    """Trains one run alone, once for all tests; returns its folder."""
    folders: dict[tuple[str, ...], Path] = {}

    def train_once(*overrides: str) -> Path:
        if overrides not in folders:
            # as long a path as those of tests, since checkpoints hold it
            folder = folders[overrides] = tmp_path_factory.mktemp("trained_alone_to_compare_with_")
            train_in(folder, *tiny, *overrides)
        return folders[overrides]

    return train_once


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
