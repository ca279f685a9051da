"""One run: build the parts, fit, test the best checkpoint, record."""

import errno
import inspect
import logging
import shutil
import traceback
from collections.abc import Callable
from contextlib import nullcontext
from datetime import UTC, datetime
from functools import partial
from math import isfinite
from multiprocessing import current_process
from pathlib import Path
from typing import Any

import lightning as L
import torch
from hydra.core.hydra_config import HydraConfig
from hydra.utils import instantiate
from lightning.pytorch.callbacks import Checkpoint, ProgressBar
from lightning.pytorch.plugins.io import TorchCheckpointIO
from lightning.pytorch.utilities.rank_zero import rank_zero_only
from omegaconf import DictConfig, OmegaConf

from losslab.classifier import Classifier, score
from runlab import atomic, stacks
from runlab.config import fingerprint
from runlab.config import schema as configuration
from runlab.config.messages import user_message
from runlab.loggers.hparams import Session, log_result
from runlab.runs import provenance, record
from runlab.runs.checkpoint import AtomicCheckpointIO
from runlab.runs.lock import run_lock
from runlab.runs.resume import (
    WAYS_ON,
    Restart,
    ResumeCallback,
    another_configuration,
    ignore_existing_dir_warnings,
    last_checkpoint,
    rewind,
    track,
)

log = logging.getLogger(__name__)

UNREADABLE = "run.json.unreadable"
MACHINE = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.ESTALE)
"""Errors of the operating system for which no run is to blame: a full disk, one that went away."""


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
    folder = Path(cfg.run.folder)
    config = portable(cfg)
    if rank_zero_only.rank > 0:  # type: ignore[attr-defined]  # rank 0 claims and records
        entry = new_record(cfg, config)
        return fit(cfg, entry, ResumeCallback(folder, entry, last_checkpoint(folder, config)))
    with run_lock(folder) as ours:
        if not ours:
            log.info("%s%s: being trained by another process", cfg.run.position, folder.name)
            return None
        try:
            old = None if cfg.overwrite else earlier(cfg, config)
            if old is None or old["status"] not in record.ENDED:
                return recorded(cfg, config, old)
        except Exception as error:
            if cfg.fail_fast:
                raise SystemExit(f"{folder.name}: {user_message(error)} (fail_fast)") from error
            raise
        log.info("%s%s: already %s, skipped", cfg.run.position, folder.name, old["status"])
        return old


def is_done(cfg: DictConfig) -> bool:
    """Whether `train` would find nothing to do, nor anything to refuse."""
    try:
        old = None if cfg.overwrite else earlier(cfg, portable(cfg))
    except ValueError:
        return False
    return old is not None and old["status"] in record.ENDED


def portable(cfg: DictConfig) -> dict[str, Any]:
    """The resolved configuration, but for where the run lies: that stays `${run.folder}`."""
    nodes: Any = OmegaConf.to_container(cfg)
    nodes["run"] = {key: rf"\${{run.{key}}}" for key in ("name", "position", "folder")}
    config: Any = OmegaConf.to_container(
        OmegaConf.create(nodes), resolve=True, throw_on_missing=True, enum_to_str=True
    )
    del config["run"]
    return config


def earlier(cfg: DictConfig, config: dict[str, Any]) -> dict[str, Any] | None:
    """The record of an earlier try at this run.

    Raises:
        ValueError: if there is another run, or this one failed and is not to be tried again.
    """
    folder = Path(cfg.run.folder)
    old = read_or_put_aside(folder)
    if old is None:
        return None
    same = old["fingerprint"] == fingerprint.fingerprint(config)
    if not same and (old["status"] != "failed" or old["metrics"].get("epochs")):
        raise ValueError(another_configuration(folder, old["config"], config))
    if old["status"] == "failed":
        if same and configuration.is_multirun() and cfg.retry is None:
            raise ValueError(f"failed before: {old['error']} (retry=failed trains it again)")
        return old
    require_same_versions(folder, old)
    require_same_data(cfg, old)
    return old


def read_or_put_aside(folder: Path) -> dict[str, Any] | None:
    """The record in a run's folder; one that is damaged is renamed, so that nothing is lost."""
    path = folder / "run.json"
    if not path.exists():
        return None
    try:
        return record.read(folder)
    except ValueError as error:
        if isinstance(error.__cause__, OSError):  # which says nothing about what the file holds
            raise error.__cause__ from None
        path.replace(folder / UNREADABLE)
        log.warning("%s; it is now %s", error, UNREADABLE)
        return None


def require_same_versions(folder: Path, old: dict[str, Any]) -> None:
    then, now = (
        provenance.series(old["provenance"]["versions"]),
        provenance.series(provenance.versions()),
    )
    if then != now:
        raise ValueError(
            f"{folder} holds a run of other versions "
            f"({'; '.join(fingerprint.changes(then, now))}): install those, {WAYS_ON}"
        )


def require_same_data(cfg: DictConfig, old: dict[str, Any]) -> None:
    data: Any = instantiate(cfg.data)
    data.prepare_data()
    then, now = old["provenance"]["data"], getattr(data, "checksum", None)
    if then not in (None, now):  # None: it was stopped before it had read them
        raise ValueError(
            f"{cfg.run.folder} holds a run on other data (checksum {then}, now {now}): {WAYS_ON}"
        )


def recorded(cfg: DictConfig, config: dict[str, Any], old: dict[str, Any] | None) -> dict[str, Any]:
    """Trains, and keeps the run's record true meanwhile and however training ends."""
    folder = Path(cfg.run.folder)
    entry = new_record(cfg, config)
    held = any((folder / name).exists() for name in ("run.json", UNREADABLE))
    if held:
        configuration.check(config)  # before anything is given up for it
    from_start = cfg.overwrite or (old is not None and starts_over(old))
    restart = None if from_start else last_checkpoint(folder, config)
    if restart is not None:
        continue_record(entry, old or {}, restart)
        epochs = entry["metrics"]["epochs"]
        log.info("%s%s: goes on after epoch %d", cfg.run.position, folder.name, epochs)
    if held:
        atomic.clean(folder)
        (folder / "traceback.txt").unlink(missing_ok=True)
    if held and restart is None:
        record.write(folder, entry | {"status": "interrupted", "from_start": True})
        clear(folder)
    record.write(folder, entry)
    resumable = ResumeCallback(folder, entry, restart)
    try:
        save_configuration(cfg, folder)
        fit(cfg, entry, resumable)
    except BaseException as error:
        entry["timing"]["seconds"] = resumable.seconds
        reason = root_cause(error, folder)
        leave(folder, entry, reason)
        if reason is error:
            raise
        raise reason from error
    entry["timing"]["seconds"] = resumable.seconds
    record.write(folder, entry)
    log.info("%s%s: %s", cfg.run.position, folder.name, summary(entry))
    return entry


def starts_over(old: dict[str, Any]) -> bool:
    """Whether an earlier try's checkpoints are of no use: it failed, or was being replaced."""
    return old["status"] == "failed" or old.get("from_start", False)


def new_record(cfg: DictConfig, config: dict[str, Any]) -> dict[str, Any]:
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return {
        "status": "running",
        "error": None,
        "metrics": {},
        "timing": {"started": now, "latest": now, "resumed": 0},
        "place": configuration.place(),
        "overrides": sorted(cfg.run.overrides),
        "choices": {k: v for k, v in cfg.run.choices.items() if "/" not in k},
        "config": config,
        "fingerprint": fingerprint.fingerprint(config),
        "provenance": provenance.provenance(),
    }


def continue_record(entry: dict[str, Any], old: dict[str, Any], restart: Restart) -> None:
    """Takes over how far an earlier try came, and what it ran on where that has changed since."""
    entry["metrics"]["epochs"] = int(restart.metrics.get("epochs", 0))
    entry["timing"]["seconds"] = restart.seconds
    timing, provenance = old.get("timing", {}), old.get("provenance", {})
    entry["timing"]["started"] = timing.get("started", entry["timing"]["started"])
    entry["timing"]["resumed"] = timing.get("resumed", 0) + 1
    entry["provenance"]["data"] = provenance.get("data")
    ran_on = {key: provenance.get(key) for key in ("git", "versions", "hardware")}
    changed = provenance and any(entry["provenance"][key] != ran_on[key] for key in ran_on)
    entry["provenance"]["earlier"] = provenance.get("earlier", []) + [ran_on] * bool(changed)


def save_configuration(cfg: DictConfig, folder: Path) -> None:
    """Hydra's own files, which Hydra would replace even where the run is then refused."""
    (folder / ".hydra").mkdir(exist_ok=True)
    OmegaConf.save(cfg, folder / ".hydra" / "config.yaml")
    OmegaConf.save(OmegaConf.create(list(cfg.run.overrides)), folder / ".hydra" / "overrides.yaml")
    if HydraConfig.initialized():
        OmegaConf.save(HydraConfig.get(), folder / ".hydra" / "hydra.yaml")


def root_cause(error: BaseException, folder: Path) -> BaseException:
    """What stopped a run, where the error that came out of it hides that.

    A DataLoader's workers, stopped by the same signal, raise while the process is being stopped.
    A full disk has the run's folder as its place where the operating system names none.
    """
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, KeyboardInterrupt | SystemExit):
            return error if isinstance(error, KeyboardInterrupt | SystemExit) else seen
        seen = seen.__context__
    if isinstance(error, OSError) and error.errno in MACHINE and error.filename is None:
        return OSError(error.errno, error.strerror, str(folder))
    return error


def leave(folder: Path, entry: dict[str, Any], error: BaseException) -> None:
    """Records a run that `error` ended: it was stopped, or something in it is wrong."""
    of_machine = isinstance(error, OSError) and error.errno in MACHINE
    # Lightning turns Ctrl-C and SIGTERM into SystemExit
    stopped = of_machine or isinstance(error, KeyboardInterrupt | SystemExit)
    entry["status"] = "interrupted" if stopped else "failed"
    try:
        if isinstance(error, Exception):
            entry["error"] = user_message(error)
            (folder / "traceback.txt").write_text("".join(traceback.format_exception(error)))
        record.write(folder, entry)
    except OSError as full:  # without the claim, `running` means interrupted too
        log.warning("%s: cannot record that it %s: %s", folder.name, entry["status"], full)


def fit(cfg: DictConfig, entry: dict[str, Any], resumable: ResumeCallback) -> dict[str, Any]:
    """Trains and tests; fills in the record's metrics, timing, data checksum and final status."""
    configuration.check(entry["config"])
    restart = resumable.restart
    session = Session(resumable.folder, entry, configuration.swept(cfg))
    data, classifier, trainer = parts(cfg, entry["config"], resumable, session)
    entry["mapping"] = mapping(classifier.loss)
    entry["provenance"]["data"] = getattr(data, "checksum", None)
    if trainer.is_global_zero:
        record.write(resumable.folder, entry)  # whatever is trained now was trained on these data
    path = restart.path if restart else None
    with ignore_existing_dir_warnings() if restart else nullcontext():
        if trainer.is_global_zero:
            track(trainer.loggers, restart.tracked if restart else {})
            if restart is not None:
                rewind(trainer.loggers, restart.step)
        trainer.fit(classifier, datamodule=data, ckpt_path=path, weights_only=True)
    fitted = {name: float(value) for name, value in trainer.callback_metrics.items()}
    fitted = (restart.metrics if restart else {}) | fitted  # nothing may have been left to train
    timing = {name: value for name, value in fitted.items() if name.startswith("timing/")}
    entry["timing"] |= {name.removeprefix("timing/"): value for name, value in timing.items()}
    entry["timing"]["stack"] = getattr(classifier.stack, "shared", 1)
    if "val/accuracy" not in fitted:
        raise ValueError(
            "expected at least one validation in a run, got none: the trainer left it out"
        )
    losses = [value for name, value in fitted.items() if name.startswith(("train/", "val/"))]
    chance = 1 / cfg.data.num_classes
    at_chance = fitted["val/accuracy"] < chance + (1 - chance) / 9  # under 20% for 10 classes
    diverged = at_chance or not all(map(isfinite, losses))
    entry["metrics"] |= {"epochs": int(fitted["epochs"]), "train/loss": fitted["train/loss"]}
    if not diverged:
        entry["metrics"]["best_epoch"] = load_best(classifier, trainer)
    entry["metrics"] |= score(classifier, trainer, data)
    if "test/accuracy" not in entry["metrics"]:
        raise ValueError("expected a test at the end of a run, got none: the trainer left it out")
    entry["status"] = "diverged" if diverged else "finished"
    log_result(trainer, entry["metrics"], fitted)
    return entry


def parts(
    cfg: DictConfig, config: dict[str, Any], *callbacks: L.Callback
) -> tuple[Any, Classifier, L.Trainer]:
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
    trainer = build_trainer(cfg, *callbacks)
    if trainer.world_size == 1:
        classifier.stack = stacks.current()
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


def build_trainer(cfg: DictConfig, *others: L.Callback) -> L.Trainer:
    callbacks = [instantiate(node) for node in (cfg.callback or {}).values()]
    loggers = [instantiate(node) for node in (cfg.logger or {}).values()]
    trainer: L.Trainer = instantiate(cfg.trainer)(
        callbacks=[*callbacks, *others],
        logger=loggers,
        enable_checkpointing=any(isinstance(each, Checkpoint) for each in callbacks),
        enable_progress_bar=any(isinstance(each, ProgressBar) for each in callbacks),
    )
    if type(trainer.strategy.checkpoint_io) is TorchCheckpointIO:
        trainer.strategy.checkpoint_io = AtomicCheckpointIO()
    return trainer


def load_best(classifier: Classifier, trainer: L.Trainer) -> int | None:
    """Loads the best checkpoint's weights, where one was kept; returns its epoch, from 0."""
    path = getattr(trainer.checkpoint_callback, "best_model_path", "")
    if not path:
        return None
    checkpoint = torch.load(path, weights_only=True)
    classifier.load_state_dict(checkpoint["state_dict"])
    return checkpoint["epoch"]


def mapping(loss: torch.nn.Module) -> str:
    """How a loss maps outputs to class probabilities, in its own words: `softmax(z)`."""
    documented = inspect.getdoc(loss.probabilities) or ""
    return documented.partition("\n")[0].rstrip(".")


def clear(folder: Path) -> None:
    """Removes what an earlier try at this run left, so that its curves are not mixed with ours."""
    names = ("hparams.yaml", "curves.csv", "predictions.npz", "projector_config.pbtxt")
    left = [folder / name for name in names]
    for path in [*folder.glob("events.out.tfevents.*"), *left]:
        path.unlink(missing_ok=True)
    embeddings = [path.parent for path in folder.glob("*/projector")]
    for path in [folder / "checkpoints", folder / "wandb", *embeddings]:
        if path.exists():
            shutil.rmtree(path)


def summary(entry: dict[str, Any]) -> str:
    """How the run ended, in one line."""
    scores = [f"{split} {entry['metrics'][f'{split}/accuracy']:.2%}" for split in ("val", "test")]
    status = "" if entry["status"] == "finished" else f"{entry['status']}, "
    return f"{status}{', '.join(scores)}, {entry['timing']['seconds']:.1f} s"
