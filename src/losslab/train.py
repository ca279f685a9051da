"""One run: build the parts, fit, test the best checkpoint, record."""

import logging
import shutil
import signal
import time
import traceback
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from math import isfinite
from multiprocessing import current_process
from pathlib import Path
from typing import Any

import lightning as L
import torch
from filelock import FileLock, Timeout
from hydra.utils import instantiate
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities.exceptions import SIGTERMException
from lightning.pytorch.utilities.rank_zero import rank_zero_only
from omegaconf import DictConfig, OmegaConf

from losslab import config as configuration
from losslab import record
from losslab.classifier import Classifier, score

log = logging.getLogger(__name__)


def train(cfg: DictConfig) -> dict[str, Any] | None:
    """Trains the run that `cfg` describes, unless it is there already; returns its record.

    Returns None if another process is training it.

    Raises:
        ValueError: for a configuration that cannot be trained, or differs from the one that the
            run's folder holds.
        MisconfigurationException: from Lightning, if the machine lacks the device asked for.
            Whatever training raised is recorded and raised again.
    """
    folder = Path(cfg.run.folder)
    config = portable(cfg)
    if rank_zero_only.rank > 0:  # type: ignore[attr-defined]  # rank 0 locks and records
        return existing(folder, config) or fit(cfg, new_record(cfg, config))
    try:
        with FileLock(folder / ".lock", blocking=False):
            done = None if cfg.overwrite else existing(folder, config)
            if done is None:
                return recorded(cfg, config, folder)
            require_same_data(cfg, done)
            log.info("%s%s: already %s, skipped", cfg.run.position, folder.name, done["status"])
            return done
    except Timeout:
        log.info("%s%s: being trained by another process", cfg.run.position, folder.name)
        return None


def portable(cfg: DictConfig) -> dict[str, Any]:
    """The resolved configuration as it would be in whatever folder the run lies."""
    nodes: Any = OmegaConf.to_container(cfg)
    nodes["run"] = {"name": "", "position": "", "folder": "."}
    config: Any = OmegaConf.to_container(
        OmegaConf.create(nodes), resolve=True, throw_on_missing=True
    )
    del config["run"]
    return config


def existing(folder: Path, config: dict[str, Any]) -> dict[str, Any] | None:
    """The record of a run that ended here with the same configuration."""
    if not (folder / "run.json").exists():
        return None
    try:
        old = record.read(folder)
    except ValueError as error:
        raise ValueError(f"{error}; overwrite=true replaces it") from error
    if old["status"] not in ("finished", "diverged"):
        return None
    if old["fingerprint"] != record.fingerprint(config):
        changes = "; ".join(record.difference(old["config"], config))
        raise ValueError(
            f"{folder} holds a run of another configuration ({changes}): choose another sweep with "
            f"name=…, or replace the run with overwrite=true"
        )
    return old


def require_same_data(cfg: DictConfig, done: dict[str, Any]) -> None:
    """Raises ValueError if the data are not those that the run was trained on."""
    data: Any = instantiate(cfg.data)
    data.prepare_data()
    then, now = done["provenance"]["data"], getattr(data, "checksum", None)
    if then != now:
        raise ValueError(
            f"{cfg.run.folder} holds a run on other data (checksum {then}, now {now}): choose "
            f"another sweep with name=…, or replace the run with overwrite=true"
        )


def recorded(cfg: DictConfig, config: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Trains, and keeps the run's record true meanwhile and however training ends."""
    if (folder / "run.json").exists():
        configuration.check(config)  # before what is there is given up for it
        clear(folder)
    started = time.perf_counter()
    entry = new_record(cfg, config)
    record.write(folder, entry)
    try:
        fit(cfg, entry)
    except BaseException as error:
        # Lightning turns Ctrl-C and SIGTERM into SystemExit, SIGTERM with exit code 0
        stopped = isinstance(error, KeyboardInterrupt | SystemExit)
        entry["status"] = "interrupted" if stopped else "failed"
        (folder / "traceback.txt").write_text(traceback.format_exc())
        if isinstance(error, SIGTERMException):
            raise SystemExit(128 + signal.SIGTERM) from error
        raise
    finally:
        entry["timing"]["seconds"] = time.perf_counter() - started
        record.write(folder, entry)
    log.info("%s%s: %s", cfg.run.position, folder.name, summary(entry))
    return entry


def new_record(cfg: DictConfig, config: dict[str, Any]) -> dict[str, Any]:
    return {
        "status": "running",
        "metrics": {},
        "timing": {"started": datetime.now(UTC).isoformat(timespec="seconds")},
        "overrides": sorted(cfg.run.overrides),
        "choices": {k: v for k, v in cfg.run.choices.items() if "/" not in k},
        "config": config,
        "fingerprint": record.fingerprint(config),
        "provenance": record.provenance(),
    }


def fit(cfg: DictConfig, entry: dict[str, Any]) -> dict[str, Any]:
    """Trains and tests; fills in the record's metrics, timing, data checksum and final status."""
    configuration.check(entry["config"])
    data, classifier, trainer = parts(cfg, entry["config"])
    entry["provenance"]["data"] = getattr(data, "checksum", None)
    trainer.fit(classifier, datamodule=data)
    fitted = {name: float(value) for name, value in trainer.callback_metrics.items()}
    timing = {name: value for name, value in fitted.items() if name.startswith("timing/")}
    entry["timing"] |= {name.removeprefix("timing/"): value for name, value in timing.items()}
    if "val/accuracy" not in fitted:
        raise ValueError(
            "expected at least one validation in a run, got none: the trainer left it out"
        )
    losses = [value for name, value in fitted.items() if name.startswith(("train/", "val/"))]
    chance = 1 / cfg.data.num_classes
    at_chance = fitted["val/accuracy"] < chance + (1 - chance) / 9  # under 20% for 10 classes
    diverged = at_chance or not all(map(isfinite, losses))
    entry["metrics"]["train/loss"] = fitted["train/loss"]
    if not diverged:
        entry["metrics"]["best_epoch"] = load_best(classifier, trainer)
    entry["metrics"] |= score(classifier, trainer, data)
    entry["status"] = "diverged" if diverged else "finished"
    log_result(trainer, configuration.swept(cfg), entry["metrics"])
    return entry


def parts(cfg: DictConfig, config: dict[str, Any]) -> tuple[Any, Classifier, L.Trainer]:
    """Data module, classifier and Trainer, seeded and ready to fit."""
    torch.set_num_threads(cfg.threads)
    data = instantiate(cfg.data)
    if getattr(data, "num_workers", 0) > 0 and current_process().name.startswith("Loky"):
        raise ValueError(
            "expected data.num_workers=0 inside joblib's processes, where a DataLoader can't start "
            f"its own, got {data.num_workers}: use hydra/launcher=basic, or no workers"
        )
    data.prepare_data()
    classifier = build(cfg, data)
    classifier.save_hyperparameters({"config": config}, logger=False)
    trainer = build_trainer(cfg)
    L.seed_everything(cfg.seed, workers=True, verbose=False)
    return data, classifier, trainer


def build(cfg: DictConfig, data: Any) -> Classifier:
    """The classifier, its initial weights a function of the seed alone."""
    scheduler: Callable[..., Any] | None = instantiate(cfg.scheduler)
    if scheduler is not None:
        total_steps = cfg.trainer.max_epochs * data.steps_per_epoch
        scheduler = partial(scheduler, total_steps=total_steps)
    with torch.random.fork_rng(devices=[]):  # networks are built on the CPU
        torch.manual_seed(cfg.seed)
        network = instantiate(cfg.model)
    return Classifier(
        network=network,
        loss=instantiate(cfg.loss),
        optimizer=instantiate(cfg.optimizer),
        num_classes=cfg.data.num_classes,
        scheduler=scheduler,
        gradient_clip=cfg.gradient_clip,
    )


def build_trainer(cfg: DictConfig) -> L.Trainer:
    callbacks = [instantiate(node) for node in (cfg.callback or {}).values()]
    loggers = [instantiate(node) for node in (cfg.logger or {}).values()]
    keeps = any(isinstance(callback, Checkpoint) for callback in callbacks)
    return instantiate(cfg.trainer)(callbacks=callbacks, logger=loggers, enable_checkpointing=keeps)


def load_best(classifier: Classifier, trainer: L.Trainer) -> int | None:
    """Loads the best checkpoint's weights, where one was kept; returns its epoch, from 0."""
    path = getattr(trainer.checkpoint_callback, "best_model_path", "")
    if not path:
        return None
    checkpoint = torch.load(path, weights_only=True)
    classifier.load_state_dict(checkpoint["state_dict"])
    return checkpoint["epoch"]


def log_result(
    trainer: L.Trainer, hyperparameters: dict[str, Any], metrics: dict[str, Any]
) -> None:
    """What the run was, and how good its weights are: `best/*` on validation, `test/*`.

    These are the best checkpoint's, or the final ones if the run diverged.
    Logged once, at the end: TensorBoard's HParams keeps the first entry that it sees.
    """
    result = {
        name.replace("val/", "best/"): value
        for name, value in metrics.items()
        if name.startswith(("val/", "test/")) and not name.endswith("/images")
    }
    for logger in trainer.loggers:
        if isinstance(logger, TensorBoardLogger):
            logger.log_hyperparams(hyperparameters, result, step=trainer.global_step)
        else:
            logger.log_hyperparams(hyperparameters)
            logger.log_metrics(result, step=trainer.global_step)
        logger.finalize("success")


def clear(folder: Path) -> None:
    """Removes what an earlier try at this run left, so that its curves are not mixed with ours."""
    for path in [
        *folder.glob("events.out.tfevents.*"),
        folder / "hparams.yaml",
        folder / "traceback.txt",
    ]:
        path.unlink(missing_ok=True)
    shutil.rmtree(folder / "checkpoints", ignore_errors=True)


def summary(entry: dict[str, Any]) -> str:
    """How the run ended, in one line."""
    scores = [f"{split} {entry['metrics'][f'{split}/accuracy']:.2%}" for split in ("val", "test")]
    status = "" if entry["status"] == "finished" else f"{entry['status']}, "
    return f"{status}{', '.join(scores)}, {entry['timing']['seconds']:.1f} s"
