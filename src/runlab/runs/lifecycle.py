"""The life of a run around its training: lock, earlier tries, and a record that is kept true."""

import logging
import os
import shutil
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import lightning as L
from hydra.core.hydra_config import HydraConfig
from lightning.pytorch.utilities.rank_zero import rank_zero_only
from omegaconf import DictConfig
from torch.nn.parameter import is_lazy

from runlab import atomic
from runlab.components import data_checksum
from runlab.config import run_name, schema
from runlab.config.fingerprint import fingerprint
from runlab.config.messages import is_user_error, user_message
from runlab.config.parts import GROUPS, without_unused
from runlab.config.run_name import resolved
from runlab.measure import Measure, declared_measures
from runlab.module import Module
from runlab.pretrained import with_checksum
from runlab.runs import provenance, record
from runlab.runs.devices import check_devices
from runlab.runs.failure import record_failure, root_cause
from runlab.runs.lock import run_lock
from runlab.runs.previous import (
    UNREADABLE,
    FailedBeforeError,
    clear,
    continue_record,
    find_previous_run,
    readable_record,
    require_checkpoint_folder,
    require_own_folder,
    require_same_setting,
    starts_over,
)
from runlab.runs.processes import Ranks
from runlab.runs.restart import (
    ORIGIN,
    folders_locked,
    last_checkpoint,
    origin_of,
    own_checkpoints,
    setting_of,
)
from runlab.runs.resume import ResumeCallback
from runlab.runs.signals import came_by_signal, exit_on_signals
from runlab.text import printable

log = logging.getLogger(__name__)

Record = dict[str, Any]

TOLD_ONE_BY_ONE = 20
"""In a sweep of no more runs each says how it ended."""


@dataclass(frozen=True)
class Run:
    """A run that is ours to train.

    Attributes:
        config: `cfg` as plain values, resolved.
        record: as it is in `run.json`; `begin` and `end` fill it in.
        resume: keeps in checkpoints, and takes from one, what lets the run go on.
        ranks: the other processes that train it.
    """

    cfg: DictConfig
    config: dict[str, Any]
    record: Record
    resume: ResumeCallback
    ranks: Ranks

    @property
    def folder(self) -> Path:
        return self.resume.folder

    def begin(self, data: Any, module: L.LightningModule, trainer: L.Trainer) -> None:
        """Records what is known of a run once its components are built."""
        self.record["module"] = module.record_fields() if isinstance(module, Module) else {}
        self.record["parameters"] = count_parameters(module)
        self.record["provenance"]["data"] = getattr(data, "checksum", None)
        module.hparams[ORIGIN] = origin_of(self.folder, self.record["provenance"])
        if trainer.is_global_zero:
            record.write(self.folder, self.record)  # whatever is trained now is of these data

    def end(
        self,
        module: L.LightningModule,
        status: str,
        metrics: dict[str, Any],
        last: dict[str, float],
    ) -> None:
        """Records how it ended; `last` are the latest metrics of the fit."""
        timing = {name: value for name, value in last.items() if name.startswith("timing/")}
        self.record["timing"] |= {n.removeprefix("timing/"): value for n, value in timing.items()}
        stack = module.stack if isinstance(module, Module) else None
        self.record["timing"]["stack"] = getattr(stack, "largest", 1)
        self.record["metrics"] |= metrics
        self.record["status"] = status


def count_parameters(module: L.LightningModule) -> int:
    """Numbers that are trained; those that a first batch would shape are not known yet."""
    known = (each for each in module.parameters() if not is_lazy(each))
    return sum(each.numel() for each in known if each.requires_grad)


def run_lifecycle(cfg: DictConfig, fit_and_test: Callable[[Run], None]) -> Record | None:
    """Trains a run by `fit_and_test` unless that is done; returns its record.

    Returns None if another process is training it. What it raises, `train` says.
    """
    folder = Path(cfg.run.folder)
    try:
        config = resolved_config(cfg)
    except Exception as error:
        is_new = folder.is_dir() and all(is_of_launch(each) for each in folder.iterdir())
        if is_new and is_user_error(error) and not run_name.is_multirun():
            remove(folder)
        raise
    if rank_zero_only.rank > 0:  # type: ignore[attr-defined]  # rank 0 locks and records
        entry = new_record(cfg, config)
        resume = ResumeCallback(folder, entry, last_checkpoint(cfg, config))
        fit_and_test(Run(cfg, config, entry, resume, ranks_of(cfg, fit_and_test)))
        return entry
    with run_lock(folder) as is_ours:
        if not is_ours:
            if (theirs := readable_record(folder)) is not None:
                require_own_folder(folder, theirs, config)
            log.info("%s%s: being trained by another process", cfg.run.position, folder.name)
            return None
        try:
            require_checkpoint_folder(folder)
            previous = find_previous_run(cfg, config)
            if previous is None or previous["status"] not in record.ENDED:
                with folders_locked(cfg, config):
                    return train_recorded(cfg, config, previous, fit_and_test)
        except Exception as error:
            if cfg.fail_fast and not came_by_signal(error):
                raise SystemExit(f"{folder.name}: {user_message(error)} (fail_fast)") from error
            raise
        status = previous["status"]
        log.log(
            level(), "%s%s: already %s, skipped",
            cfg.run.position, folder.name, status,
        )  # fmt: skip
        return previous


def is_done(
    cfg: DictConfig,
    resolve: Callable[[DictConfig], dict[str, Any]] = resolved,
    checksum_of: Callable[[DictConfig], str | None] = data_checksum,
) -> bool:
    """Whether `train` would find nothing to do, nor anything to refuse.

    Args:
        resolve: makes of the configuration what `resolved` does, which needs not be done anew for
            each run of a sweep.
        checksum_of: that of the run's data, for which the same holds.

    Raises:
        FailedBeforeError: if it would refuse the run for that alone.
    """
    try:
        previous = find_previous_run(cfg, settled(cfg, resolve(cfg)), checksum_of)
    except FailedBeforeError:
        raise
    except ValueError:
        return False
    return previous is not None and previous["status"] in record.ENDED


def check_settings(cfg: DictConfig, is_trained_here: bool) -> None:
    """Raises ValueError for what no run can be trained with by its settings.

    Args:
        is_trained_here: on this machine, whose devices are known.
    """
    config = resolved_config(cfg)
    schema.check(config)
    if is_trained_here:
        check_devices(config["trainer"])


def resolved_config(cfg: DictConfig) -> dict[str, Any]:
    """The resolved configuration, but for where the run lies: that stays `${run.folder}`.

    Groups of which its module takes nothing are left out.

    Raises:
        ValueError: if one of them was overridden, or the module cannot be imported.
    """
    return settled(cfg, resolved(cfg))


def settled(cfg: DictConfig, config: dict[str, Any]) -> dict[str, Any]:
    """What `resolved_config` makes of resolved values."""
    del config["run"]
    config = without_unused(config, run_name.as_given(cfg.run.overrides))
    if config.get("scheduler") == {}:
        config["scheduler"] = None
    return with_checksum(config)


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
    is_new = all(is_of_launch(each) for each in folder.iterdir())
    if is_used:
        schema.check(config)  # before anything is given up for it
    from_start = cfg.overwrite if previous is None else starts_over(cfg, config, previous)
    restart = None if from_start else last_checkpoint(cfg, config)
    if restart is not None:
        if previous is None or restart.setting != setting_of(previous["provenance"]):
            require_same_setting(cfg, restart.setting)
        continue_record(entry, previous or {}, restart)
        epochs = entry["metrics"]["epochs"]
        log.info("%s%s: goes on after epoch %g", cfg.run.position, folder.name, epochs)
    if is_used:
        atomic.clean(folder)
        (folder / "traceback.txt").unlink(missing_ok=True)
    if is_used and restart is None:
        record.write(folder, entry | {"status": "interrupted", "from_start": True})
        replaced = own_checkpoints(cfg, config)
        if replaced and not from_start:
            names = printable(", ".join(path.name for path in replaced))
            log.warning("%s: starts over, which removes %s", folder.name, names)
        clear(folder, replaced)
    record.write(folder, entry)
    resume = ResumeCallback(folder, entry, restart)
    run = Run(cfg, config, entry, resume, ranks_of(cfg, fit_and_test))
    try:
        with exit_on_signals(), run.ranks:
            fit_and_test(run)
    except BaseException as error:
        entry["timing"]["seconds"] = run.resume.seconds
        cause = root_cause(error, folder)
        record_failure(folder, entry, cause)
        is_mistake = is_user_error(cause) and not run.resume.has_begun
        if is_new and is_mistake and not run_name.is_multirun():
            remove(folder)
        if cause is error:
            raise
        raise cause from error
    entry["timing"]["seconds"] = run.resume.seconds
    if not (keeps := cfg.get("keep_checkpoints", True)):  # of an earlier release
        entry[record.CHECKPOINTS_REMOVED] = datetime.now(UTC).isoformat(timespec="seconds")
    record.write(folder, entry)
    if not keeps:
        remove_checkpoints(own_checkpoints(cfg, config))
    log.log(level(), "%s%s: %s", cfg.run.position, folder.name, summary(entry))
    return entry


def ranks_of(cfg: DictConfig, fit_and_test: Callable[[Run], None]) -> Ranks:
    return Ranks(partial(run_lifecycle, fit_and_test=fit_and_test), cfg)


def level() -> int:
    """Of what is said where a run ends well: of many runs, one line tells how far all are."""
    of = (run_name.sweep_index() or {}).get("of", 0)
    return logging.DEBUG if of > TOLD_ONE_BY_ONE else logging.INFO


def remove(folder: Path) -> None:
    """Removes a run that could not begin, for which there is nothing but the mistake to keep."""
    shutil.rmtree(folder, ignore_errors=True)
    with suppress(OSError):  # other runs are in it
        folder.parent.rmdir()


def remove_checkpoints(paths: Iterable[Path]) -> None:
    """And the folders that are then empty."""
    for path in paths:
        path.unlink(missing_ok=True)
        with suppress(OSError):
            path.parent.rmdir()


def is_of_launch(path: Path) -> bool:
    """Whether a file lies in a run's folder before the run does anything: its lock, and its log."""
    log_file = f"{HydraConfig.get().job.name}.log" if HydraConfig.initialized() else None
    return path.name in (".lock", ".lock.pid", log_file)


def new_record(cfg: DictConfig, config: dict[str, Any]) -> Record:
    now = datetime.now(UTC).isoformat(timespec="seconds")
    timing = {"started": now, "latest": now, "resumed": 0, "process": os.getpid()}
    return {
        "status": "running",
        "error": None,
        "label": cfg.run.label,
        "metrics": {},
        "timing": timing | provenance.place(),
        "sweep_index": run_name.sweep_index(),
        "launch": run_name.launch(),
        "overrides": sorted(run_name.as_given(cfg.run.overrides)),
        "choices": {
            key: value
            for key, value in cfg.run.choices.items()
            if "/" not in key and (key in config or key not in GROUPS.values())
        },
        "config": config,
        "fingerprint": fingerprint(config),
        "measures": [each.to_record() for each in declared_measures(config)],
        "module": {},
        "provenance": provenance.provenance(config["trainer"]),
    }


def summary(entry: Record) -> str:
    """How the run ended, in one line: its primary metric on validation and test data."""
    primary = Measure.from_record(entry["measures"][0])
    splits = [split for split in ("val", "test") if f"{split}/{primary.name}" in entry["metrics"]]
    scores = [
        f"{split} {primary.text(entry['metrics'][f'{split}/{primary.name}'])}" for split in splits
    ]
    status = "" if entry["status"] == "finished" else f"{entry['status']}, "
    whose = ", the whole stack's" if entry["timing"]["stack"] > 1 else ""
    return printable(f"{status}{', '.join(scores)}, {entry['timing']['seconds']:.1f} s{whose}")
