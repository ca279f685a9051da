"""Random numbers of a step, the same whenever and with whatever other runs it is taken."""

from typing import Any

import numpy as np
import torch


def step_generator(
    seed: int, step: int, stream: int, device: torch.device, batch: int = 0
) -> torch.Generator:
    """A generator that depends on its arguments alone, so that resuming needs no state of it.

    Args:
        seed: of the run.
        step: optimizer steps taken before.
        stream: tells what draws from it: two of them are independent.
        batch: which of the batches whose gradients one step adds up.
    """
    state = np.random.SeedSequence([seed, stream, step, batch]).generate_state(1, np.uint64)
    return torch.Generator(device).manual_seed(int(state[0]))


def augments(data: Any) -> bool:
    """Whether a data module, or None, changes training batches at random: it has an `augment`.

    Raises:
        ValueError: for one that says yes and does nothing.
    """
    augment = getattr(data, "augment", None)
    if not callable(augment) and augment:
        raise ValueError(
            f"expected augment of {type(data).__name__} to be a function (inputs, generator), got "
            f"{augment!r}: write it, or set it to None"
        )
    return callable(augment)


AUGMENT, DRAW = 0, 1
"""Streams of a data module's `augment` and of a module's `draw`."""
