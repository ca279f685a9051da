"""Which checkpoint a run goes on from: the newest of its own that can be read, wherever it lies."""

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from omegaconf import DictConfig, OmegaConf

from runlab.config.fingerprint import difference, fingerprint
from runlab.runs import checkpoint
from runlab.runs.lock import PATIENCE

log = logging.getLogger(__name__)

STATE_KEY = "runlab"
"""Under which our part of a checkpoint lies."""

WAYS_ON = "choose another sweep with name=…, or replace the run with overwrite=true"


@dataclass(frozen=True)
class Restart:
    """A checkpoint to go on from.

    Attributes:
        step: optimizer steps taken before it.
        seconds: training time before it.
        metrics: what Lightning's `callback_metrics` held, and the epochs trained.
        service_run_ids: under which ids other services keep the run, by the class of their logger.
        is_inexact: whether Lightning would go on otherwise than a run that was not stopped.
        best: names of the files that hold the best weights so far.
    """

    path: Path
    step: int
    seconds: float
    metrics: dict[str, float]
    service_run_ids: dict[str, str]
    is_inexact: bool
    best: frozenset[str]

    @classmethod
    def of(cls, path: Path, content: Mapping[str, Any]) -> "Restart":
        state = content[STATE_KEY]
        states = [each for each in content["callbacks"].values() if isinstance(each, dict)]
        best = [e["best_model_path"] for e in states if e.get("monitor") and "best_model_path" in e]
        return cls(
            path,
            content["global_step"],
            state["seconds"],
            state["metrics"],
            state["service_run_ids"],
            state["is_inexact"],
            frozenset(Path(each).name for each in best if each),
        )


def last_checkpoint(cfg: DictConfig, config: Mapping[str, Any]) -> Restart | None:
    """The newest checkpoint of this run that it can go on from, whatever its name.

    It says which it cannot go on from: damaged ones, and those whose best weights are lost.

    Raises:
        ValueError: if there are checkpoints of another configuration.
    """
    readable, restarts = set(), []
    for path in find_checkpoints(cfg):
        try:
            content = checkpoint.read(path)
            require_own(path, content["hyper_parameters"]["config"], cfg, config)
            readable.add(path.name)
            restarts.append(Restart.of(path, content))
        except checkpoint.DamagedError as error:
            log.warning("%s: cannot go on from it (%s)", path, error.__cause__)
        except (KeyError, TypeError, IndexError):
            log.warning("%s: cannot go on from it (it lacks the state of a run)", path)
    by_age = sorted(restarts, key=lambda each: (each.step, each.path.stat().st_mtime))
    for restart in reversed(by_age):
        if lost := restart.best - readable:
            log.warning("%s: cannot go on from it (without %s)", restart.path, min(lost))
        elif restart.is_inexact:
            log.warning("%s: cannot go on from it (with trainer.max_steps)", restart.path)
        else:
            return restart
    return None


def find_checkpoints(cfg: DictConfig) -> list[Path]:
    """Files in the run's folder, and in others that its callbacks write to."""
    places = [absolute(cfg.run.folder), *places_of(cfg)]
    return sorted({path for folder in places for path in folder.rglob("*.ckpt")})


def own_checkpoints(cfg: DictConfig, config: Mapping[str, Any]) -> list[Path]:
    """What is there to be replaced: all in the run's folder, elsewhere those of this run."""
    folder, ours = absolute(cfg.run.folder), fingerprint(config)
    return [
        path
        for path in find_checkpoints(cfg)
        if path.is_relative_to(folder) or fingerprint(config_of(path) or {}) == ours
    ]


def config_of(path: Path) -> Mapping[str, Any] | None:
    """The configuration of the run that wrote a checkpoint; None if it does not tell."""
    try:
        config: Mapping[str, Any] = checkpoint.read(path)["hyper_parameters"]["config"]
    except (checkpoint.DamagedError, KeyError, TypeError, IndexError):
        return None
    return config


def places_of(cfg: DictConfig) -> list[Path]:
    """The folders on this machine that callbacks are told to keep checkpoints in."""
    nodes = [node for node in (cfg.callback or {}).values() if OmegaConf.is_dict(node)]
    places = [str(node.dirpath) for node in nodes if node.get("dirpath")]
    return sorted({absolute(each) for each in places if "://" not in each})


def absolute(place: str) -> Path:
    return Path(os.path.abspath(os.path.expanduser(place)))  # a link in a run's folder is in it


@contextmanager
def folders_locked(cfg: DictConfig, config: Mapping[str, Any]) -> Iterator[None]:
    """Keeps other runs out of the folders elsewhere, in which this one keeps its checkpoints.

    Raises:
        ValueError: if another run writes to one of them, or has.
    """
    with ExitStack() as locks:
        own = absolute(cfg.run.folder)
        for folder in [each for each in places_of(cfg) if not each.is_relative_to(own)]:
            folder.mkdir(parents=True, exist_ok=True)
            try:
                locks.enter_context(FileLock(folder.with_name(f".{folder.name}.lock"), PATIENCE))
            except Timeout:
                raise ValueError(
                    f"expected a folder for the checkpoints of {cfg.run.name} alone, got {folder}, "
                    f"to which another run writes now: {OWN_FOLDER}"
                ) from None
            for path in folder.rglob("*.ckpt"):
                if (theirs := config_of(path)) is not None:
                    require_own(path, theirs, cfg, config)
        yield


OWN_FOLDER = "give each its own, such as callback.….dirpath='…/${run.name}'"


def require_own(
    path: Path, theirs: Mapping[str, Any], cfg: DictConfig, ours: Mapping[str, Any]
) -> None:
    """Raises ValueError unless a run of this configuration wrote the checkpoint."""
    if fingerprint(theirs) == fingerprint(ours):
        return
    folder = absolute(cfg.run.folder)
    if path.is_relative_to(folder):
        raise ValueError(another_configuration(folder, theirs, ours))
    changed = "; ".join(difference(theirs, ours))
    raise ValueError(
        f"expected a folder for the checkpoints of {cfg.run.name} alone, got {path.parent} with "
        f"{path.name} of another run ({changed}): {OWN_FOLDER}"
    )


def another_configuration(folder: Path, old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    changed = "; ".join(difference(old, new))
    return f"{folder} holds a run of another configuration ({changed}): {WAYS_ON}"
