"""Fair turns: all in every round, none always first, none with another's garbage or settings."""

import gc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

import torch
from tqdm import tqdm

from runlab.extras.benchmark.contestants import Contestant

T = TypeVar("T")


def play(
    contestants: Sequence[Contestant],
    between: Callable[[], None],
    steps: int,
    rounds: int,
) -> dict[str, list[float]]:
    """Seconds per step of each contestant, one a round; `between` is called before each round."""
    seconds: dict[str, list[float]] = {contestant.name: [] for contestant in contestants}
    for number in tqdm(range(rounds), "rounds", leave=False, disable=None):
        between()
        for contestant in rotated(contestants, number):
            seconds[contestant.name].append(turn(contestant, steps))
    return seconds


def turn(contestant: Contestant, steps: int) -> float:
    gc.collect()
    with torch_settings_kept():
        return contestant.run(steps)


def rotated(values: Sequence[T], number: int) -> list[T]:
    start = number % len(values)
    return [*values[start:], *values[:start]]


@contextmanager
def torch_settings_kept() -> Iterator[None]:
    """Lightning's Trainer sets determinism for the whole process: the others did not ask for it."""
    mode = torch.get_deterministic_debug_mode()
    cudnn = torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic
    try:
        yield
    finally:
        torch.set_deterministic_debug_mode(mode)
        torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic = cudnn
