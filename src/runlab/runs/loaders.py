"""The order in which plain DataLoaders give samples, after a restart as if there had been none.

They draw it from a generator of their own or from the global one, anew for each epoch. So a
checkpoint keeps the state of all of these at the epoch's start, and how many batches were taken;
going on, the epoch is started again from there, and those batches are drawn once more and dropped.
"""

import logging
import random
from collections.abc import Iterator
from typing import Any

import lightning as L
import numpy as np
from torch import Generator, Tensor

from runlab.runs.rng import restore_rng, rng_states

log = logging.getLogger(__name__)

OTHERS = (random.Random, np.random.Generator, np.random.RandomState)
"""Generators whose state no checkpoint keeps."""

WHAT_TO_DO = (
    "shuffle by runlab.EpochSampler, whose order is a function of seed and epoch, or by a "
    "torch.Generator"
)


class LoaderOrder:
    """Follows a fit, for its checkpoints.

    Attributes:
        start: the generators at the start of the epoch; None in the first one, in which a run
            from its start finds them as they were.
        is_first: whether it is the first epoch of this process, whose iterator Lightning has made
            before any hook.
    """

    def __init__(self) -> None:
        self.start: dict[str, Any] | None = None
        self.is_first = True

    def begin_epoch(self, trainer: L.Trainer) -> None:
        if not self.is_first:
            self.start = states(trainer)

    def end_epoch(self) -> None:
        self.is_first = False

    def state_dict(self, trainer: L.Trainer) -> dict[str, Any]:
        progress: Any = trainer.fit_loop.epoch_loop.batch_progress
        taken = 0 if progress.is_last_batch else progress.current.processed
        return {"start": self.start if taken else states(trainer), "taken": taken}

    def restore(self, trainer: L.Trainer, state: dict[str, Any], now: dict[str, Any]) -> None:
        """Puts all generators back, and restarts the epoch of the checkpoint at its next batch.

        Args:
            now: the global generators as the checkpoint has them. Between two epochs starting one
                has then drawn from them, as it would have.
        """
        device = trainer.strategy.root_device
        if not plain_loaders(trainer) or why_not_restored(trainer) is not None:
            restore_rng(now, device)
            return
        self.start = state["start"]
        if self.start is not None:
            restore_rng(self.start["global"], device)
            self.restart_epoch(trainer, self.start["own"])
        fetcher: Any = trainer.fit_loop._data_fetcher
        for _ in range(state["taken"]):
            next(fetcher)
        fetcher.fetched = 0  # Lightning adds the batches taken before
        if state["taken"]:
            restore_rng(now, device)

    def restart_epoch(self, trainer: L.Trainer, own: list[Tensor]) -> None:
        for generator, before in zip(generators(trainer), own, strict=True):
            generator.set_state(before)
        for sampler in (each for loader in plain_loaders(trainer) for each in samplers(loader)):
            if hasattr(sampler, "set_epoch"):  # worker processes ask for samples at once
                sampler.set_epoch(trainer.current_epoch)
        iter(trainer.fit_loop._data_fetcher)  # type: ignore[arg-type]


def states(trainer: L.Trainer) -> dict[str, Any]:
    own = [generator.get_state() for generator in generators(trainer)]
    return {"own": own, "global": rng_states(trainer.strategy.root_device)}


def plain_loaders(trainer: L.Trainer) -> list[Any]:
    """The loaders of training that do not keep their own state, as `TensorLoader` does."""
    return [each for each in loaders(trainer) if not hasattr(each, "load_state_dict")]


def loaders(trainer: L.Trainer) -> list[Any]:
    combined = trainer.fit_loop._combined_loader
    return [] if combined is None else list(combined.flattened)


def samplers(loader: Any) -> Iterator[Any]:
    """Sampler, batch sampler and that one's own sampler, as far as there are any."""
    batch_sampler = getattr(loader, "batch_sampler", None)
    found = [getattr(loader, "sampler", None), batch_sampler]
    yield from [each for each in [*found, getattr(batch_sampler, "sampler", None)] if each]


def holders(loader: Any) -> list[Any]:
    """What may hold a generator: the loader, its samplers and its data set."""
    dataset = getattr(loader, "dataset", None)
    return [loader, *samplers(loader), *([] if dataset is None else [dataset])]


def generators(trainer: L.Trainer) -> list[Generator]:
    """Those of all plain loaders, each once."""
    held = [
        value
        for loader in plain_loaders(trainer)
        for holder in holders(loader)
        for value in getattr(holder, "__dict__", {}).values()
        if isinstance(value, Generator)
    ]
    return list({id(each): each for each in held}.values())


def why_not_restored(trainer: L.Trainer) -> str | None:
    """Why a run that is stopped would go on in another order; None if nothing shows."""
    plain = plain_loaders(trainer)
    if not plain:
        return None
    if len(plain) < len(loaders(trainer)):
        return "some of its loaders keep their own state and some do not"
    if trainer.reload_dataloaders_every_n_epochs:  # type: ignore[attr-defined]
        return "its loaders are made anew (reload_dataloaders_every_n_epochs)"
    for holder in (each for loader in plain for each in holders(loader)):
        for name, value in getattr(holder, "__dict__", {}).items():
            if isinstance(value, OTHERS):
                kind = f"{type(value).__module__}.{type(value).__name__}"
                return f"{type(holder).__name__}.{name} is a {kind}, which no checkpoint keeps"
    return None


def warn_of_order(trainer: L.Trainer) -> None:
    if (reason := why_not_restored(trainer)) is not None:
        log.warning(
            "if this run is stopped it goes on with its samples in another order: %s; %s",
            reason,
            WHAT_TO_DO,
        )
