"""Which weights of a run are tested and recorded, and which file holds them: `test_weights`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import ModelCheckpoint, StochasticWeightAveraging

from runlab.measure import Measure
from runlab.runs import checkpoint
from runlab.runs.features import averaging_callback
from runlab.runs.lifecycle import Run
from runlab.runs.restart import require_own

AVERAGED_FILE = "averaged.ckpt"


def load_tested_weights(
    run: Run, module: L.LightningModule, trainer: L.Trainer, measures: Sequence[Measure]
) -> dict[str, int]:
    """Loads the weights that are tested after a fit; returns their `best_epoch`, from 0, if any.

    From here on no callback averages: in a validation it would exchange the weights for its own.

    Raises:
        ValueError: if there is no average yet.
    """
    choice = run.config.get("test_weights", "best")  # of earlier releases
    callbacks: list[L.Callback] = trainer.callbacks  # type: ignore[attr-defined]
    average = averaging_callback(callbacks)
    best = checkpoint.best_callback(trainer.checkpoint_callbacks, measures)
    if choice == "averaged":
        assert average is not None  # as `check_test_weights` has found
        load_average(average, module)
    callbacks[:] = [each for each in callbacks if each is not average]
    if choice == "averaged":
        save_average(trainer)
    elif choice == "best" and best is not None and best.best_model_path:
        content = checkpoint.read(best.best_model_path)
        require_own(Path(best.best_model_path), content, run.cfg, run.config)
        module.load_state_dict(content["state_dict"])
        return {"best_epoch": content["epoch"]}
    return {}


def load_average(callback: Any, module: L.LightningModule) -> None:
    """Puts the average into the module, where Lightning may have done so at the end of the fit.

    It has not after a fit that was stopped early, nor in one that had nothing left to train.
    """
    is_swa = isinstance(callback, StochasticWeightAveraging)
    average: Any = callback._average_model
    averaged = callback.n_averaged or callback._init_n_averaged if is_swa else average.n_averaged
    if not averaged:
        raise ValueError(
            f"expected {type(callback).__name__} to have averaged weights by the end of training, "
            "got none: let it begin earlier, or train for longer"
        )
    if is_swa:
        callback.transfer_weights(average, module)
    else:
        callback._copy_average_to_current(module)


def save_average(trainer: L.Trainer) -> None:
    """Keeps what is tested where the run keeps its checkpoints, if it keeps any."""
    kept = [each for each in trainer.checkpoint_callbacks if isinstance(each, ModelCheckpoint)]
    if kept:
        trainer.save_checkpoint(Path(str(kept[0].dirpath)) / AVERAGED_FILE, weights_only=True)
