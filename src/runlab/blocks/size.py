"""How an epoch's batches are cut into blocks, so that nothing that counts steps meets too few."""

import logging
from functools import cache
from math import ceil, gcd
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import ModelCheckpoint, ProgressBar, Timer
from lightning.pytorch.utilities.model_helpers import is_overridden

from runlab.blocks.plan import BlockPlan
from runlab.module import Module

log = logging.getLogger(__name__)

BATCH_HOOKS = ("on_train_batch_start", "on_train_batch_end")

STOCK = (Timer, ProgressBar, ModelCheckpoint)
"""Lightning's callbacks whose own batch hooks blocks suffice for, the last one's periods apart."""


def plan_blocks(trainer: L.Trainer, wanted: int, batches: int) -> BlockPlan | None:
    """The blocks of a fit; None where the module takes ordinary batches, one at a time.

    Lightning counts calls of `training_step`. So the Trainer's limit and its interval between
    validations, which count batches, are turned into blocks here, and blocks end wherever one of
    them, or a checkpoint after every n steps, falls due.

    Args:
        wanted: the most batches in a block.
        batches: in a whole epoch.

    Raises:
        ValueError: if validations are farther apart than an epoch is long.
    """
    reason = why_one_by_one(trainer)
    if reason is not None:
        tell(reason)
        return None
    module: Any = trainer.lightning_module
    together = module.accumulate_grad_batches
    batches = limited(batches, trainer.limit_train_batches)
    interval = validation_interval(trainer, batches)
    periods = checkpoint_periods(trainer, batches, together)
    if interval is not None:
        across_epochs = trainer.check_val_every_n_epoch is None
        periods |= {f"trainer.val_check_interval={trainer.val_check_interval}": (
            gcd(interval, batches) if across_epochs else interval
        )}  # fmt: skip
    segment = gcd(*periods.values()) if periods else batches
    if segment == 1 < batches:
        tell(
            "training goes step by step, as no larger block ends wherever "
            f"{' and '.join(periods)} may fall due"
        )
        return None
    size = min(wanted, segment)
    if interval == segment == size < batches:
        # one block would make the interval 1, which Lightning takes for 1.0: the whole epoch
        size = ceil(segment / 2)
    plan = BlockPlan(batches, size, segment, last_batch(trainer, batches, together))
    trainer.limit_train_batches = 1.0
    if interval is not None:
        trainer.val_check_interval = plan.blocks_in(interval)
    return plan


def why_one_by_one(trainer: L.Trainer) -> str | None:
    """Why every step needs a call of its own, as a sentence; None if blocks suffice."""
    module: Any = trainer.lightning_module
    if not isinstance(module, Module):
        return trains_step_by_step(module)
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        hooks = [name for name in BATCH_HOOKS if needs_each_step(callback, name)]
        if hooks and not blocks_suffice(callback):
            return sentence(f"the callback {type(callback).__name__} acts", hooks[0])
    hooks = [name for name in BATCH_HOOKS if is_overridden(name, module, Module)]
    if hooks and not blocks_suffice(module):
        return sentence(f"{type(module).__name__} acts", hooks[0])
    return None


def trains_step_by_step(module: L.LightningModule) -> str:
    return (
        f"{type(module).__name__} does not derive from runlab.Module: it trains step by step, and "
        "by itself"
    )


def sentence(who: str, hook: str) -> str:
    return (
        f"training goes step by step, as {who} in {hook}: where once a block suffices, "
        "blocks_suffice = True in its class says so"
    )


def needs_each_step(callback: L.Callback, hook: str) -> bool:
    """Not if the hook is one that a callback of `STOCK` has from Lightning."""
    is_stock = isinstance(callback, STOCK)
    written_in = getattr(type(callback), hook).__module__
    return is_overridden(hook, callback) and not (is_stock and written_in.startswith("lightning."))


def blocks_suffice(thing: Any) -> bool:
    return bool(getattr(type(thing), "blocks_suffice", False))


@cache  # once a process: the runs of a sweep are alike
def tell(told: str) -> None:
    log.info("%s", told)


def limited(batches: int, limit: int | float) -> int:
    """As Lightning counts: a whole number is one of batches, a fraction is of the epoch."""
    return min(batches, limit) if isinstance(limit, int) else int(batches * limit)


def validation_interval(trainer: L.Trainer, batches: int) -> int | None:
    """Batches between two validations; None for one after whole epochs, or after some time."""
    if trainer._val_check_time_interval is not None:  # type: ignore[attr-defined]
        return None
    every: Any = trainer.val_check_interval
    if isinstance(every, float) and every == 1.0:
        return None
    interval = every if isinstance(every, int) else max(int(batches * every), 1)
    if interval > batches and trainer.check_val_every_n_epoch is not None:
        raise ValueError(
            f"expected trainer.val_check_interval of at most {batches:,}, the batches of an epoch, "
            f"got {interval:,}: lower it, or set trainer.check_val_every_n_epoch=null"
        )
    return interval


def checkpoint_periods(trainer: L.Trainer, batches: int, together: int) -> dict[str, int]:
    """The most batches from an epoch's start that lead from one due checkpoint to each other."""
    own = [e for e in trainer.checkpoint_callbacks if isinstance(e, ModelCheckpoint)]
    every = {each._every_n_train_steps for each in own} - {0}
    return {
        f"every_n_train_steps={steps}": gcd(steps * together, batches)
        if batches % together == 0
        else 1
        for steps in sorted(every)
    }


def last_batch(trainer: L.Trainer, batches: int, together: int) -> int | None:
    """After how many batches of a run `max_steps` optimizer steps have been taken."""
    if trainer.max_steps == -1:
        return None
    epochs, steps = divmod(trainer.max_steps, ceil(batches / together))
    return epochs * batches + min(steps * together, batches)
