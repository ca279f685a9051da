"""Global state of the process that belongs to one run: saved while other runs go on."""

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


class ProcessState:
    """A run's own random generators, Hydra configuration, log handlers and the like.

    It begins as a copy of what the process has now.
    """

    def __init__(self) -> None:
        self.saved = read_all()

    @contextmanager
    def active(self) -> Iterator[None]:
        """Gives the process this state; afterwards saves it, and restores the process's own."""
        outside = read_all()
        write_all(self.saved)
        try:
            yield
        finally:
            self.saved = read_all()
            write_all(outside)


@contextmanager
def rng_unchanged(device: torch.device) -> Iterator[None]:
    """Leaves PyTorch's generators, of the CPU and of that device, as they were."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        yield


def read_all() -> list[Any]:
    return [get() for get, _ in ACCESSORS]


def write_all(states: list[Any]) -> None:
    for (_, set_one), state in zip(ACCESSORS, states, strict=True):
        set_one(state)


def set_hydra(config: Any) -> None:
    HydraConfig.instance().cfg = config


def set_logging(state: tuple[list[logging.Handler], int]) -> None:
    logging.root.handlers[:], logging.root.level = state


def set_environment(state: dict[str, str]) -> None:
    if os.environ != state:
        os.environ.clear()
        os.environ.update(state)


def set_folder(folder: str) -> None:
    if os.getcwd() != folder:
        os.chdir(folder)


def set_filters(filters: list[Any]) -> None:
    warnings.filters = filters  # `catch_warnings` replaces the list, it does not change it


def device_rng_states() -> list[torch.Tensor]:
    return torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []


def set_device_rng_states(states: list[torch.Tensor]) -> None:
    if states:
        torch.cuda.set_rng_state_all(states)


def set_anomaly_detection(mode: bool) -> None:
    torch.autograd.set_detect_anomaly(mode)


ACCESSORS: tuple[tuple[Callable[[], Any], Callable[[Any], None]], ...] = (
    (lambda: HydraConfig.instance().cfg, set_hydra),
    (lambda: (logging.root.handlers[:], logging.root.level), set_logging),
    (lambda: dict(os.environ), set_environment),
    (os.getcwd, set_folder),
    (lambda: warnings.filters, set_filters),
    (random.getstate, random.setstate),
    (np.random.get_state, np.random.set_state),
    (torch.get_rng_state, torch.set_rng_state),
    (device_rng_states, set_device_rng_states),
    (torch.get_default_dtype, torch.set_default_dtype),
    (torch.is_anomaly_enabled, set_anomaly_detection),
)
"""For each part of the state: how to read it, and how to write it."""
