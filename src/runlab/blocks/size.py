"""How many steps one call of `training_step` takes."""

from typing import Any

from runlab.module import Module


def block_size(trainer: Any, wanted: int) -> int | None:
    """Steps in a block; None where the Trainer's module takes ordinary batches."""
    module = getattr(trainer, "lightning_module", None)
    return wanted if module is None or isinstance(module, Module) else None
