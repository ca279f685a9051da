"""Which of Lightning's callbacks and Trainer flags cannot be right in a run: refused by name."""

import inspect
from collections.abc import Iterable, Mapping, Sequence
from itertools import product
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import (
    BasePredictionWriter,
    BatchSizeFinder,
    Checkpoint,
    GradientAccumulationScheduler,
    LearningRateFinder,
    ModelCheckpoint,
    ModelPruning,
    OnExceptionCheckpoint,
    ProgressBar,
    SpikeDetection,
    StochasticWeightAveraging,
    WeightAveraging,
)
from lightning.pytorch.strategies import DDPStrategy, SingleDeviceStrategy
from lightning.pytorch.utilities.model_helpers import is_overridden
from torch.nn.modules.batchnorm import _BatchNorm

from runlab.module import Module

AVERAGING = (WeightAveraging, StochasticWeightAveraging)
"""Lightning's callbacks that keep an average of the weights, and test by it."""

ELSEWHERE = {
    "callbacks": "the group callback, as in +callback.early._target_=…",
    "logger": "the group logger, as in logger=none or logger=csv",
}
"""Flags of the Trainer that are groups of the configuration here."""

OFF = {
    "barebones": "a run is recorded by what it logs, and barebones turns that off",
    "limit_predict_batches": "a run predicts nothing",
    "model_registry": "a run's checkpoints stay in its folder",
}
"""Flags that have to stay as they are by default, and why."""

REFUSED: Mapping[type[L.Callback], str] = {
    BasePredictionWriter: (
        "it writes what trainer.predict gives, and a run predicts nothing: use the command predict"
    ),
    OnExceptionCheckpoint: (
        "a run that was stopped goes on from its last checkpoint by itself, and could not from one "
        "within a step"
    ),
    BatchSizeFinder: (
        "the run would be recorded with a batch size that it was not trained with: sweep "
        "data.batch_size"
    ),
    LearningRateFinder: (
        "the run would be recorded with a learning rate that it was not trained with: sweep "
        "optimizer.lr, or search it by hydra/sweeper=optuna"
    ),
    ModelPruning: (
        "checkpoints do not hold its masks, so a run that was stopped would go on without them"
    ),
    SpikeDetection: (
        "its state cannot be loaded again, so a run that was stopped could not go on: use "
        "callback=stop_on_divergence"
    ),
}
"""Callbacks that are refused for each module, and why."""


NOT_CALLED = (
    *("configure_gradient_clipping", "lr_scheduler_step", "on_before_zero_grad"),
    *("optimizer_step", "optimizer_zero_grad"),
)
"""Hooks that Lightning calls only of a module whose optimization is automatic."""

ENGINES = [
    name
    for name in dir(L.LightningModule)
    if (name == "setup" or name.startswith("on_"))
    and getattr(Module, name) is not getattr(L.LightningModule, name)
]
"""Hooks in which `Module` does a part of its work."""


def check_flags(flags: Mapping[str, Any], callbacks: Sequence[L.Callback]) -> None:
    """Raises ValueError for a flag of the Trainer that would be ignored, or could not be right.

    Args:
        flags: as the configuration gives them.
        callbacks: of the configuration.
    """
    for name, instead in ELSEWHERE.items():
        if flags.get(name) is not None:
            raise refusal(f"trainer.{name}", flags[name], f"use {instead}")
    for name, reason in OFF.items():
        if flags.get(name):
            raise refusal(f"trainer.{name}", flags[name], f"{reason}: leave it out")
    strategy = flags.get("strategy", "auto")
    if isinstance(strategy, str) and not strategy.startswith(("auto", "ddp", "single_")):
        raise ValueError(
            f"expected trainer.strategy to be auto or ddp, got {strategy!r}: runs are trained on "
            "one device, or by DDP on several"
        )
    if flags.get("num_nodes", 1) != 1:
        raise refusal("trainer.num_nodes", flags["num_nodes"], "a run trains on one machine")
    for name, kind, group in (
        ("enable_checkpointing", Checkpoint, "checkpoint"),
        ("enable_progress_bar", ProgressBar, "progress"),
    ):
        there, given = any(isinstance(e, kind) for e in callbacks), flags.get(name)
        if given is not None and given != there:
            what = f"add callback={group}" if given else f"drop them, as in '~callback.{group}'"
            raise refusal(f"trainer.{name}", given, f"callbacks say it here: {what}")


def check_features(module: L.LightningModule, trainer: L.Trainer, test_weights: str) -> None:
    """Raises ValueError for what a built Trainer has that could not be right with this module."""
    if not is_overridden("test_step", module):
        raise ValueError(
            f"expected {type(module).__name__} to have a test_step, which measures the trained "
            "weights at the end of a run, got none: write one"
        )
    if isinstance(module, Module):
        check_hooks(module)
    callbacks: list[L.Callback] = trainer.callbacks  # type: ignore[attr-defined]
    check_test_weights(test_weights, callbacks)
    if not isinstance(trainer.strategy, SingleDeviceStrategy | DDPStrategy):
        raise refusal(
            "trainer.strategy",
            type(trainer.strategy).__name__,
            "runs are trained on one device, or by DDP on several: use auto or ddp",
        )
    for callback in callbacks:
        if (reason := why_refused(callback, module)) is not None:
            raise ValueError(f"expected no callback {type(callback).__name__}: {reason}")


def check_hooks(module: Module) -> None:
    """Raises ValueError for a hook of a module of ours that would do nothing, or undo the engine's.

    A hook that calls one of its own name is taken to call that of its base.
    """
    kind = type(module)
    for hook in NOT_CALLED:
        if is_overridden(hook, module, Module):
            raise ValueError(
                f"expected no {hook} in {kind.__name__}: a runlab.Module takes its own optimizer "
                "steps, and Lightning calls that only of a module that does not: derive from "
                "LightningModule"
            )
    own_bases = kind.__mro__[: kind.__mro__.index(Module)]
    for base, hook in product(own_bases, ENGINES):
        if hook in vars(base) and not calls(vars(base)[hook], hook):
            raise ValueError(
                f"expected {hook} of {base.__name__} to call super().{hook}(…), as runlab.Module "
                "does a part of its work there, got one that does not: add it"
            )


def calls(method: Any, name: str) -> bool:
    """Whether its source names that; true of what is no Python function."""
    code = getattr(inspect.unwrap(method), "__code__", None)
    return code is None or name in code.co_names


def averaging_callback(callbacks: Iterable[L.Callback]) -> L.Callback | None:
    """Raises ValueError if there are several."""
    found = [each for each in callbacks if isinstance(each, AVERAGING)]
    if len(found) > 1:
        names = " and ".join(type(each).__name__ for each in found)
        raise ValueError(f"expected one callback that averages weights, got {names}: drop one")
    return found[0] if found else None


def check_test_weights(choice: str, callbacks: Iterable[L.Callback]) -> None:
    """Raises ValueError for a choice that these callbacks leave without weights to test."""
    average = averaging_callback(callbacks)
    name = type(average).__name__
    if average is None and choice == "averaged":
        raise ValueError(
            "expected a callback that averages weights for test_weights=averaged, got none: add "
            "one, such as +callback.average._target_="
            "lightning.pytorch.callbacks.EMAWeightAveraging"
        )
    if average is not None and choice == "last":
        raise ValueError(
            f"expected no callback that averages weights for test_weights=last, got {name}, which "
            "puts its average in the place of the last ones: choose test_weights=averaged"
        )
    if isinstance(average, StochasticWeightAveraging) and choice == "best":
        raise ValueError(
            f"expected test_weights=averaged with the callback {name}, whose average the best "
            "checkpoint does not hold, got best: choose test_weights=averaged, or drop it"
        )


def why_refused(callback: L.Callback, module: L.LightningModule) -> str | None:
    for kind, reason in REFUSED.items():
        if isinstance(callback, kind):
            return reason
    if isinstance(callback, ModelCheckpoint) and callback.save_on_exception:
        return f"no save_on_exception: {REFUSED[OnExceptionCheckpoint]}"
    if isinstance(callback, StochasticWeightAveraging) and any(batch_norms(module)):
        return (
            "the statistics of batch normalization would need an epoch more: use "
            "WeightAveraging, which averages them"
        )
    return None if module.automatic_optimization else why_not_manual(callback)


def why_not_manual(callback: L.Callback) -> str | None:
    """Why a callback does nothing, or the wrong thing, where the module takes its own steps."""
    if isinstance(callback, GradientAccumulationScheduler):
        return (
            "a module that takes its own steps accumulates alike in each epoch: use "
            "trainer.accumulate_grad_batches"
        )
    if isinstance(callback, ModelCheckpoint) and callback._train_time_interval is not None:
        return (
            "Lightning heeds no train_time_interval where a module takes its own steps: use "
            "every_n_train_steps or every_n_epochs"
        )
    if is_overridden("on_before_zero_grad", callback):
        return (
            "Lightning calls no on_before_zero_grad where a module takes its own steps: use "
            "on_train_batch_start"
        )
    return None


def batch_norms(module: L.LightningModule) -> Iterable[_BatchNorm]:
    return (each for each in module.modules() if isinstance(each, _BatchNorm))


def refusal(key: str, got: Any, instead: str) -> ValueError:
    return ValueError(f"expected no {key}={str(got).lower()}: {instead}")
