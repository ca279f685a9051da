"""How many epochs a run has trained, and whether this one is its last."""

from typing import Any

import lightning as L


def trained_epochs(trainer: L.Trainer) -> float:
    """How many epochs the weights were trained for: 2.5 in the middle of the third.

    Of data whose length nobody knows it is 2 there.
    """
    epochs: Any = trainer.fit_loop.epoch_progress.current
    if epochs.started == epochs.completed:  # between two
        return epochs.completed
    progress, of = trainer.fit_loop.epoch_loop.batch_progress, trainer.num_training_batches
    if of == float("inf"):  # of data without a length: whole epochs are all that is known
        return epochs.completed + progress.is_last_batch
    ready = progress.current.ready
    taken = steps_in(trainer, ready)
    if (plan := getattr(trainer.train_dataloader, "plan", None)) is not None:
        taken = plan.trained(epochs.completed, ready)  # cut off by max_steps
    return whole(epochs.completed + taken / steps_in(trainer, of))


def steps_in(trainer: L.Trainer, batches: int | float) -> int:
    """How many batches there are in so many, from an epoch's start, of what Lightning counts.

    A block of steps is a batch to Lightning; the last of an epoch may be a shorter one.
    """
    steps: int = getattr(trainer.train_dataloader, "steps_in", int)(batches)
    return steps


def whole(number: float) -> float:
    """The same number, an integer if it is one."""
    return int(number) if number == int(number) else number


def may_end(trainer: L.Trainer) -> bool:
    """Whether training may end with the epoch of which this is the end."""
    progress: Any = trainer.fit_loop.epoch_progress.current
    epochs = trainer.max_epochs in range(progress.processed + 1)  # −1: without an end
    # of EarlyStopping, which looks at an epoch's end after all others
    looks = any(getattr(e, "_check_on_train_epoch_end", False) for e in trainer.callbacks)  # type: ignore[attr-defined]
    return has_taken_last_step(trainer) or epochs or trainer.should_stop or looks


def has_taken_last_step(trainer: L.Trainer) -> bool:
    return -1 != trainer.max_steps <= trainer.global_step
