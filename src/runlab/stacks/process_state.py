"""What is global to the process and yet belongs to one run, kept while other runs have it."""

import logging
import os
import random
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from hydra.core.hydra_config import HydraConfig


class Surroundings:
    """A run's own random generators, Hydra configuration, log handlers and the like.

    They begin as what the process has now.
    """

    def __init__(self) -> None:
        self.kept = now()

    @contextmanager
    def entered(self) -> Iterator[None]:
        outside = now()
        put(self.kept)
        try:
            yield
        finally:
            self.kept = now()
            put(outside)


@contextmanager
def draws_undone(device: torch.device) -> Iterator[None]:
    """PyTorch's generators, of the CPU and that device, are afterwards as they were."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        yield


def now() -> list[Any]:
    return [get() for get, _ in PLACES]


def put(states: list[Any]) -> None:
    for (_, put_one), state in zip(PLACES, states, strict=True):
        put_one(state)


def put_hydra(config: Any) -> None:
    HydraConfig.instance().cfg = config


def put_logging(state: tuple[list[logging.Handler], int]) -> None:
    logging.root.handlers[:], logging.root.level = state


def put_environment(state: dict[str, str]) -> None:
    if os.environ != state:
        os.environ.clear()
        os.environ.update(state)


def put_folder(folder: str) -> None:
    if os.getcwd() != folder:
        os.chdir(folder)


def put_filters(filters: list[Any]) -> None:
    warnings.filters = filters  # `catch_warnings` replaces the list, it does not change it


def device_generators() -> list[torch.Tensor]:
    return torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []


def put_device_generators(states: list[torch.Tensor]) -> None:
    if states:
        torch.cuda.set_rng_state_all(states)


def put_anomaly_detection(mode: bool) -> None:
    torch.autograd.set_detect_anomaly(mode)


PLACES: tuple[tuple[Callable[[], Any], Callable[[Any], None]], ...] = (
    (lambda: HydraConfig.instance().cfg, put_hydra),
    (lambda: (logging.root.handlers[:], logging.root.level), put_logging),
    (lambda: dict(os.environ), put_environment),
    (os.getcwd, put_folder),
    (lambda: warnings.filters, put_filters),
    (random.getstate, random.setstate),
    (np.random.get_state, np.random.set_state),
    (torch.get_rng_state, torch.set_rng_state),
    (device_generators, put_device_generators),
    (torch.get_default_dtype, torch.set_default_dtype),
    (torch.is_anomaly_enabled, put_anomaly_detection),
)
"""How to get each and how to put it back."""
