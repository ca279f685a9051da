"""The life of a run around its training: lock, earlier tries, record, failure."""

import errno
import logging
import shutil
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import lightning as L
from hydra.core.hydra_config import HydraConfig
from hydra.utils import instantiate
from lightning.pytorch.utilities.rank_zero import rank_zero_only
from omegaconf import DictConfig, OmegaConf

from runlab import atomic
from runlab.config import run_name, schema
from runlab.config.fingerprint import changes, fingerprint
from runlab.config.messages import user_message
from runlab.measure import Measure, declared_measures
from runlab.module import Module
from runlab.runs import provenance, record
from runlab.runs.lock import run_lock
from runlab.runs.resume import (
    WAYS_ON,
    Restart,
    ResumeCallback,
    another_configuration,
    last_checkpoint,
)

log = logging.getLogger(__name__)

Record = dict[str, Any]

UNREADABLE = "run.json.unreadable"
MACHINE_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.ESTALE)
"""Errors of the operating system for which no run is to blame: a full disk, one that went away."""


@dataclass(frozen=True)
class Run:
    """A run that is ours to train.

    Attributes:
        config: `cfg` as plain values, resolved.
        record: as it is in `run.json`; `begin` and `end` fill it in.
        resume: keeps in checkpoints, and takes from one, what lets the run go on.
    """

    cfg: DictConfig
    config: dict[str, Any]
    record: Record
    resume: ResumeCallback

    @property
    def folder(self) -> Path:
        return self.resume.folder

    def begin(self, data: Any, module: Module, trainer: L.Trainer) -> None:
        """Records what is known of a run once its components are built."""
        self.record["module"] = module.record_fields()
        self.record["provenance"]["data"] = getattr(data, "checksum", None)
        if trainer.is_global_zero:
            record.write(self.folder, self.record)  # whatever is trained now is of these data

    def end(
        self, module: Module, status: str, metrics: dict[str, Any], last: dict[str, float]
    ) -> None:
        """Records how it ended; `last` are the latest metrics of the fit."""
        timing = {name: value for name, value in last.items() if name.startswith("timing/")}
        self.record["timing"] |= {n.removeprefix("timing/"): value for n, value in timing.items()}
        self.record["timing"]["stack"] = getattr(module.stack, "largest", 1)
        self.record["metrics"] |= metrics
        self.record["status"] = status


def run_lifecycle(cfg: DictConfig, fit_and_test: Callable[[Run], None]) -> Record | None:
    """Trains a run by `fit_and_test` unless that is done; returns its record.

    Returns None if another process is training it. What it raises, `train` says.
    """
    folder = Path(cfg.run.folder)
    config = resolved_config(cfg)
    if rank_zero_only.rank > 0:  # type: ignore[attr-defined]  # rank 0 locks and records
        entry = new_record(cfg, config)
        resume = ResumeCallback(folder, entry, last_checkpoint(folder, config))
        fit_and_test(Run(cfg, config, entry, resume))
        return entry
    with run_lock(folder) as is_ours:
        if not is_ours:
            log.info("%s%s: being trained by another process", cfg.run.position, folder.name)
            return None
        try:
            previous = None if cfg.overwrite else find_previous_run(cfg, config)
            if previous is None or previous["status"] not in record.ENDED:
                return train_recorded(cfg, config, previous, fit_and_test)
        except Exception as error:
            if cfg.fail_fast:
                raise SystemExit(f"{folder.name}: {user_message(error)} (fail_fast)") from error
            raise
        status = previous["status"]
        log.info("%s%s: already %s, skipped", cfg.run.position, folder.name, status)
        return previous


def is_done(cfg: DictConfig) -> bool:
    """Whether `train` would find nothing to do, nor anything to refuse."""
    try:
        previous = None if cfg.overwrite else find_previous_run(cfg, resolved_config(cfg))
    except ValueError:
        return False
    return previous is not None and previous["status"] in record.ENDED


def resolved_config(cfg: DictConfig) -> dict[str, Any]:
    """The resolved configuration, but for where the run lies: that stays `${run.folder}`."""
    nodes: Any = OmegaConf.to_container(cfg)
    nodes["run"] = {key: rf"\${{run.{key}}}" for key in ("name", "position", "folder")}
    config: Any = OmegaConf.to_container(
        OmegaConf.create(nodes), resolve=True, throw_on_missing=True, enum_to_str=True
    )
    del config["run"]
    return config


# An earlier try at the same run


def find_previous_run(cfg: DictConfig, config: dict[str, Any]) -> Record | None:
    """The record of an earlier try at this run.

    Raises:
        ValueError: if there is another run, or this one failed and is not to be tried again.
    """
    folder = Path(cfg.run.folder)
    previous = read_or_put_aside(folder)
    if previous is None:
        return None
    same = previous["fingerprint"] == fingerprint(config)
    if not same and (previous["status"] != "failed" or previous["metrics"].get("epochs")):
        raise ValueError(another_configuration(folder, previous["config"], config))
    if previous["status"] == "failed":
        if same and run_name.is_multirun() and cfg.retry is None:
            raise ValueError(f"failed before: {previous['error']} (retry=failed trains it again)")
        return previous
    require_same_versions(folder, previous)
    require_same_data(cfg, previous)
    return previous


def read_or_put_aside(folder: Path) -> Record | None:
    """The record in a run's folder; one that is damaged is renamed, so that nothing is lost."""
    path = folder / "run.json"
    if not path.exists():
        return None
    try:
        return record.read(folder)
    except record.LayoutError as error:
        raise ValueError(f"{error}, or replace the run with overwrite=true") from None
    except ValueError as error:
        if isinstance(error.__cause__, OSError):  # which says nothing about what the file holds
            raise error.__cause__ from None
        path.replace(folder / UNREADABLE)
        log.warning("%s; it is now %s", error, UNREADABLE)
        return None


def require_same_versions(folder: Path, previous: Record) -> None:
    then = provenance.series(previous["provenance"]["versions"])
    now = provenance.series(provenance.versions())
    if then != now:
        raise ValueError(
            f"{folder} holds a run of other versions ({'; '.join(changes(then, now))}): install "
            f"those, {WAYS_ON}"
        )


def require_same_data(cfg: DictConfig, previous: Record) -> None:
    data: Any = instantiate(cfg.data)
    data.prepare_data()
    then, now = previous["provenance"]["data"], getattr(data, "checksum", None)
    if then not in (None, now):  # None: it was stopped before it had read them
        raise ValueError(
            f"{cfg.run.folder} holds a run on other data (checksum {then}, now {now}): {WAYS_ON}"
        )


# The record while it trains


def train_recorded(
    cfg: DictConfig,
    config: dict[str, Any],
    previous: Record | None,
    fit_and_test: Callable[[Run], None],
) -> Record:
    """Trains, and keeps the run's record true meanwhile and however training ends."""
    folder = Path(cfg.run.folder)
    entry = new_record(cfg, config)
    is_used = any((folder / name).exists() for name in ("run.json", UNREADABLE))
    if is_used:
        schema.check(config)  # before anything is given up for it
    from_start = cfg.overwrite or (previous is not None and starts_over(previous))
    restart = None if from_start else last_checkpoint(folder, config)
    if restart is not None:
        continue_record(entry, previous or {}, restart)
        epochs = entry["metrics"]["epochs"]
        log.info("%s%s: goes on after epoch %d", cfg.run.position, folder.name, epochs)
    if is_used:
        atomic.clean(folder)
        (folder / "traceback.txt").unlink(missing_ok=True)
    if is_used and restart is None:
        record.write(folder, entry | {"status": "interrupted", "from_start": True})
        clear(folder)
    record.write(folder, entry)
    run = Run(cfg, config, entry, ResumeCallback(folder, entry, restart))
    try:
        save_configuration(cfg, folder)
        fit_and_test(run)
    except BaseException as error:
        entry["timing"]["seconds"] = run.resume.seconds
        cause = root_cause(error, folder)
        record_failure(folder, entry, cause)
        if cause is error:
            raise
        raise cause from error
    entry["timing"]["seconds"] = run.resume.seconds
    record.write(folder, entry)
    log.info("%s%s: %s", cfg.run.position, folder.name, summary(entry))
    return entry


def starts_over(previous: Record) -> bool:
    """Whether an earlier try's checkpoints are of no use: it failed, or was being replaced."""
    return previous["status"] == "failed" or previous.get("from_start", False)


def new_record(cfg: DictConfig, config: dict[str, Any]) -> Record:
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return {
        "status": "running",
        "error": None,
        "metrics": {},
        "timing": {"started": now, "latest": now, "resumed": 0},
        "sweep_index": run_name.sweep_index(),
        "overrides": sorted(cfg.run.overrides),
        "choices": {k: v for k, v in cfg.run.choices.items() if "/" not in k},
        "config": config,
        "fingerprint": fingerprint(config),
        "measures": [each.to_record() for each in declared_measures(config)],
        "module": {},
        "provenance": provenance.provenance(),
    }


def continue_record(entry: Record, previous: Record, restart: Restart) -> None:
    """Takes over how far an earlier try came, and what it ran on where that has changed since."""
    entry["metrics"]["epochs"] = int(restart.metrics.get("epochs", 0))
    entry["timing"]["seconds"] = restart.seconds
    timing, ran_on = previous.get("timing", {}), previous.get("provenance", {})
    entry["timing"]["started"] = timing.get("started", entry["timing"]["started"])
    entry["timing"]["resumed"] = timing.get("resumed", 0) + 1
    entry["provenance"]["data"] = ran_on.get("data")
    before = {key: ran_on.get(key) for key in ("git", "versions", "hardware")}
    changed = ran_on and any(entry["provenance"][key] != before[key] for key in before)
    entry["provenance"]["earlier"] = ran_on.get("earlier", []) + [before] * bool(changed)


def save_configuration(cfg: DictConfig, folder: Path) -> None:
    """Hydra's own files, which Hydra would replace even where the run is then refused."""
    (folder / ".hydra").mkdir(exist_ok=True)
    OmegaConf.save(cfg, folder / ".hydra" / "config.yaml")
    OmegaConf.save(OmegaConf.create(list(cfg.run.overrides)), folder / ".hydra" / "overrides.yaml")
    if HydraConfig.initialized():
        OmegaConf.save(HydraConfig.get(), folder / ".hydra" / "hydra.yaml")


def clear(folder: Path) -> None:
    """Removes what an earlier try at this run left, so that its curves are not mixed with ours."""
    names = ("hparams.yaml", "curves.csv", "predictions.npz", "projector_config.pbtxt")
    files = [*folder.glob("events.out.tfevents.*"), *(folder / name for name in names)]
    for path in files:
        path.unlink(missing_ok=True)
    embeddings = [path.parent for path in folder.glob("*/projector")]
    for path in [folder / "checkpoints", folder / "wandb", *embeddings]:
        if path.exists():
            shutil.rmtree(path)


def summary(entry: Record) -> str:
    """How the run ended, in one line: its primary metric on validation and test data."""
    primary = Measure.from_record(entry["measures"][0])
    scores = [f"{split} {shown(entry, split, primary)}" for split in ("val", "test")]
    status = "" if entry["status"] == "finished" else f"{entry['status']}, "
    return f"{status}{', '.join(scores)}, {entry['timing']['seconds']:.1f} s"


def shown(entry: Record, split: str, measure: Measure) -> str:
    value = measure.scale * entry["metrics"][f"{split}/{measure.name}"]
    return f"{value:.{measure.digits}f}{measure.unit}"


# Its failure


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
    if isinstance(error, OSError) and error.errno in MACHINE_ERRORS and error.filename is None:
        return OSError(error.errno, error.strerror, str(folder))
    return error


def record_failure(folder: Path, entry: Record, error: BaseException) -> None:
    """Records a run that `error` ended: it was stopped, or something in it is wrong."""
    of_machine = isinstance(error, OSError) and error.errno in MACHINE_ERRORS
    # Lightning turns Ctrl-C and SIGTERM into SystemExit
    stopped = of_machine or isinstance(error, KeyboardInterrupt | SystemExit)
    entry["status"] = "interrupted" if stopped else "failed"
    try:
        if isinstance(error, Exception):
            entry["error"] = user_message(error)
            (folder / "traceback.txt").write_text("".join(traceback.format_exception(error)))
        record.write(folder, entry)
    except OSError as full:  # without the lock, `running` means interrupted too
        log.warning("%s: cannot record that it %s: %s", folder.name, entry["status"], full)
