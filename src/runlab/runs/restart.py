"""Which checkpoint a run goes on from: the newest of its own that can be read, wherever it lies."""

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from lightning.pytorch.utilities.rank_zero import rank_zero_only
from omegaconf import DictConfig, OmegaConf

from runlab.config.fingerprint import difference, fingerprint
from runlab.runs import checkpoint
from runlab.runs.checkpoint import STATE_KEY
from runlab.runs.lock import PATIENCE
from runlab.runs.provenance import series
from runlab.text import printable

log = logging.getLogger(__name__)

ORIGIN = "origin"
"""Which run wrote it, and on what: with the configuration, so that weights alone tell it too."""

INEXACT = (
    "between batches of one optimizer step, before a validation or a schedule's step that was due, "
    "or at the end of an epoch with trainer.max_steps"
)
"""Where Lightning would go on otherwise than a run that was not stopped."""

ASIDE = ".unreadable"
"""Ends the name of what was put aside since it is damaged."""

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
        setting: the versions and data that it was trained with, as `setting_of` gives them.
    """

    path: Path
    step: int
    seconds: float
    metrics: dict[str, float]
    service_run_ids: dict[str, str]
    is_inexact: bool
    best: frozenset[str]
    setting: dict[str, Any]

    @classmethod
    def of(cls, path: Path, content: Mapping[str, Any]) -> "Restart":
        state = content[STATE_KEY]
        states = [each for each in content["callbacks"].values() if isinstance(each, dict)]
        best = [e["best_model_path"] for e in states if e.get("monitor") and "best_model_path" in e]
        origin = content["hyper_parameters"][ORIGIN]
        return cls(
            path,
            content["global_step"],
            state["seconds"],
            state["metrics"],
            state["service_run_ids"],
            state["is_inexact"],
            frozenset(Path(each).name for each in best if each),
            {key: origin[key] for key in ("versions", "data")},
        )


def origin_of(folder: Path, provenance: Mapping[str, Any]) -> dict[str, Any]:
    """What a checkpoint says of the run that wrote it, besides its configuration."""
    return {"place": place_of(folder), **setting_of(provenance)}


def place_of(folder: Path) -> str:
    """Sweep and run: what stays of a run's folder when all sweeps are moved."""
    return "/".join(absolute(str(folder)).parts[-2:])


def setting_of(provenance: Mapping[str, Any]) -> dict[str, Any]:
    """What has to be the same for a run to go on: release series, and the data's checksum."""
    return {"versions": series(provenance["versions"]), "data": provenance["data"]}


def last_checkpoint(cfg: DictConfig, config: Mapping[str, Any]) -> Restart | None:
    """The newest checkpoint of this run that it can go on from, whatever its name.

    It says which it cannot go on from: damaged ones, and those whose best weights are lost. Damaged
    ones are renamed, so that nothing is lost.

    Raises:
        ValueError: if there are checkpoints of another configuration, or of another run.
    """
    readable, damaged, restarts = set(), [], []
    for path in find_checkpoints(cfg):
        try:
            content = checkpoint.read(path)
            require_own(path, content, cfg, config)
            readable.add(path.name)
            restarts.append(Restart.of(path, content))
        except checkpoint.DamagedError as error:
            damaged.append(path)
            warn(path, str(error.__cause__))
        except (KeyError, TypeError, IndexError):
            warn(path, "it lacks the state of a run")
    if rank_zero_only.rank == 0:  # type: ignore[attr-defined]
        put_aside(damaged, cfg)
    by_age = sorted(restarts, key=lambda each: (each.step, each.path.stat().st_mtime))
    for restart in reversed(by_age):
        if lost := restart.best - readable:
            warn(restart.path, f"without {min(lost)}")
        elif restart.is_inexact:
            warn(restart.path, f"it was written {INEXACT}")
        else:
            return restart
    return None


def warn(path: Path, reason: str) -> None:
    log.warning("%s: cannot go on from it (%s)", printable(str(path)), printable(reason))


def put_aside(damaged: list[Path], cfg: DictConfig) -> None:
    """Renames those that the run could write over; elsewhere others may have files below."""
    for path in damaged:
        if is_inside(path, cfg) or path.parent in places_of(cfg):
            path.replace(path.with_name(path.name + ASIDE))
            log.warning("%s is now %s%s", printable(str(path)), printable(path.name), ASIDE)


def find_checkpoints(cfg: DictConfig) -> list[Path]:
    """Files in the run's folder, and in others that its callbacks write to."""
    places = [absolute(cfg.run.folder), *places_of(cfg)]
    return sorted({path for folder in places for path in folder.rglob("*.ckpt")})


def own_checkpoints(cfg: DictConfig, config: Mapping[str, Any]) -> list[Path]:
    """What is there to be replaced: all in the run's folder, elsewhere those of this run."""
    return [
        path for path in find_checkpoints(cfg) if is_inside(path, cfg) or is_own(path, cfg, config)
    ]


def is_own(path: Path, cfg: DictConfig, config: Mapping[str, Any]) -> bool:
    try:
        require_own(path, checkpoint.read(path), cfg, config)
    except (ValueError, KeyError, TypeError, IndexError):
        return False
    return True


def is_inside(path: Path, cfg: DictConfig) -> bool:
    """Whether a checkpoint lies in the run's folder, or where a link in that leads to."""
    own, here = absolute(cfg.run.folder), path.parent.resolve()
    inside = [own, *(each for each in places_of(cfg) if each.is_relative_to(own))]
    return any(here.is_relative_to(each.resolve()) for each in inside)


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
                with suppress(checkpoint.DamagedError, KeyError, TypeError, IndexError):
                    require_own(path, checkpoint.read(path), cfg, config)
        yield


OWN_FOLDER = "give each its own, such as callback.….dirpath='…/${name}/${run.name}'"


def require_own(
    path: Path, content: Mapping[str, Any], cfg: DictConfig, ours: Mapping[str, Any]
) -> None:
    """Raises ValueError unless this run wrote the checkpoint.

    In the run's own folder, which may have been moved, one of its configuration is its own. What
    lies elsewhere has to name the run too, as another sweep may have the same one.
    """
    theirs, folder = content["hyper_parameters"]["config"], absolute(cfg.run.folder)
    is_same, inside = fingerprint(theirs) == fingerprint(ours), is_inside(path, cfg)
    place = content["hyper_parameters"].get(ORIGIN, {}).get("place")
    if is_same and (inside or place == place_of(folder)):
        return
    if inside:
        raise ValueError(another_configuration(folder, theirs, ours))
    changed = "; ".join(difference(theirs, ours)) or f"{place}, not {place_of(folder)}"
    raise ValueError(
        f"expected a folder for the checkpoints of {cfg.run.name} alone, got {path.parent} with "
        f"{path.name} of another run ({changed}): {OWN_FOLDER}"
    )


def another_configuration(folder: Path, old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    changed = "; ".join(difference(old, new))
    return f"{folder} holds a run of another configuration ({changed}): {WAYS_ON}"
