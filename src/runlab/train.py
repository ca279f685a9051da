"""One run: build its components, fit, test the best checkpoint, or what `test_weights` says.

What a run's life is besides (its lock and record, going on after it was stopped, its failure) is in
`runs/lifecycle.py`, which calls `fit_and_test`.
"""

from math import isfinite
from typing import Any

import lightning as L
from lightning.pytorch.utilities.model_helpers import is_overridden
from omegaconf import DictConfig

from runlab.components import build_components
from runlab.config.run_name import swept_hparams
from runlab.config.schema import check
from runlab.loggers.hparams import HParamsLogger, log_result
from runlab.measure import declared_measures
from runlab.requirements import has_validation, require, warn_of_small_validation
from runlab.runs.devices import check_devices
from runlab.runs.lifecycle import Run, run_lifecycle
from runlab.runs.weights import load_tested_weights


def train(cfg: DictConfig) -> dict[str, Any] | None:
    """Trains the run that `cfg` describes, or what is left of it; returns its record.

    Returns None if another process is training it.

    Raises:
        ValueError: for a configuration that cannot be trained, or differs from the one that the
            run's folder holds; in a multirun also for a run that failed before.
        MisconfigurationException: from Lightning, if the machine lacks the device asked for.
            Whatever training raised is recorded and raised again.
        SystemExit: in place of each of these, with `cfg.fail_fast`.
    """
    return run_lifecycle(cfg, fit_and_test)


def fit_and_test(run: Run) -> None:
    """Trains and tests; fills in the record's metrics, timing and final status."""
    check(run.config)
    check_devices(run.config["trainer"])
    hparams = HParamsLogger(run.folder, run.record, swept_hparams(run.cfg))
    data, module, trainer = build_components(run.cfg, run.config, run.resume, hparams)
    measures = declared_measures(run.config)
    require(data, trainer, measures)
    run.ranks.launch_with(trainer)
    run.begin(data, module, trainer)

    with run.resume.resumed(trainer) as path:
        trainer.fit(module, datamodule=data, ckpt_path=path, weights_only=True)

    last = run.resume.last_metrics(trainer)
    primary = measures[0].name
    if trainer.enable_validation:
        require_metric(f"val/{primary}", last, "at least one validation in a run")
        if (samples := int(last.get("val/samples", 0))) > 0:  # which any data may have
            warn_of_small_validation(samples, measures[0])
    trained = ("epochs", "train/loss")
    metrics: dict[str, Any] = {name: last[name] for name in trained if name in last}
    metrics |= load_tested_weights(run, module, trainer, measures) | score(module, trainer, data)
    require_metric(f"test/{primary}", metrics, "a test at the end of a run")

    run.end(module, outcome(module, last, metrics), metrics, last)
    log_result(trainer, measures, run.record["metrics"], last)


def outcome(module: L.LightningModule, last: dict[str, float], best: dict[str, Any]) -> str:
    """`diverged` if a loss or metric is not finite; `collapsed` if the module says so."""
    own = [value for name, value in last.items() if name.startswith(("train/", "val/"))]
    if not all(map(isfinite, own)):
        return "diverged"
    is_measured = any(name.startswith("val/") for name in last)
    has_collapsed = getattr(module, "has_collapsed", None)  # that any module may have
    if is_measured and has_collapsed is not None and has_collapsed(last, best):
        return "collapsed"
    return "finished"


def score(module: L.LightningModule, trainer: L.Trainer, data: Any) -> dict[str, float]:
    """`val/*`, where there is validation, and `test/*` of the weights as they are.

    Raises:
        ValueError: if the module logs none.
    """
    metrics: dict[str, float] = {}
    validate = [("val/", trainer.validate)] if validates(module, trainer, data) else []
    for split, evaluate in (*validate, ("test/", trainer.test)):
        evaluate(module, datamodule=data, verbose=False)
        scored = {name: float(value) for name, value in trainer.callback_metrics.items()}
        metrics |= {name: value for name, value in scored.items() if name.startswith(split)}
    if not metrics:
        raise ValueError(
            f"expected {type(module).__name__} to log what its test measures as test/… or test_…, "
            f"got {', '.join(sorted(trainer.callback_metrics)) or 'nothing'}: log it in test_step"
        )
    return metrics


def validates(module: L.LightningModule, trainer: L.Trainer, data: L.LightningDataModule) -> bool:
    """Also before or without `fit`, where `Trainer.enable_validation` says no."""
    can = has_validation(data) and is_overridden("validation_step", module)
    return can and trainer.limit_val_batches > 0


def require_metric(name: str, metrics: dict[str, Any], what: str) -> None:
    if name not in metrics:
        raise ValueError(f"expected {what}, got none: the trainer left it out ({name})")
