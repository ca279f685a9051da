"""An earlier try at a run: whether it is gone on with, what is taken over of it, what removed."""

import logging
import shutil
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from runlab.components import data_checksum, require_checksum
from runlab.config import run_name
from runlab.config.fingerprint import changes, difference, is_of
from runlab.runs import provenance, record
from runlab.runs.restart import ASIDE, WAYS_ON, Restart, another_configuration, setting_of
from runlab.text import printable

log = logging.getLogger(__name__)

Record = dict[str, Any]

UNREADABLE = f"run.json{ASIDE}"


class FailedBeforeError(ValueError):
    """A run that an earlier command has tried, and that this one is not asked to try again."""


def find_previous_run(
    cfg: DictConfig,
    config: dict[str, Any],
    checksum_of: Callable[[DictConfig], str | None] = data_checksum,
) -> Record | None:
    """The record of an earlier try at this run; None where there is none, or it is replaced.

    Args:
        checksum_of: that of the run's data, which need not be read anew for each run of a sweep.

    Raises:
        ValueError: if there is another run, or this one failed and is not to be tried again.
    """
    folder = Path(cfg.run.folder)
    if is_replaced(cfg):
        return None
    previous = read_or_put_aside(folder)
    if previous is None:
        return None
    if previous["status"] not in record.STATUSES:
        raise ValueError(
            f"{folder} holds a run of status {previous['status']}, which this release does not "
            f"know: train it with the one that wrote it, {WAYS_ON}"
        )
    require_own_folder(folder, previous, config)
    same = is_of(previous, config)
    if not same and (previous["status"] != "failed" or previous["metrics"].get("epochs")):
        raise ValueError(another_configuration(folder, previous["config"], config))
    if previous["status"] == "failed":
        may_retry = cfg.retry is not None and not is_of_this_launch(previous)
        if same and run_name.is_multirun() and not may_retry:
            raise FailedBeforeError(
                f"failed before: {previous['error']} (retry=failed trains it again)"
            )
        return previous
    require_same_setting(cfg, setting_of(previous["provenance"]), checksum_of)
    require_same_place(folder, previous, config)
    return previous


def require_same_place(folder: Path, previous: Record, config: Mapping[str, Any]) -> None:
    """Raises ValueError for other data that no checksum tells from those of the earlier try."""
    if previous["provenance"]["data"] is not None or previous["status"] not in record.ENDED:
        return
    then, now = (
        record.nested_dict(each, "data").get("root") for each in (previous["config"], config)
    )
    if then != now:
        raise ValueError(
            f"{folder} holds a run on the data in {then}, got data.root={now}, and its data module "
            f"has no checksum to know data by: give it one, {WAYS_ON}"
        )


def is_replaced(cfg: DictConfig) -> bool:
    """Whether what is there is given up for the run; never what the same command trained."""
    if not cfg.overwrite:
        return False
    entry = readable_record(Path(cfg.run.folder))
    return entry is None or not is_of_this_launch(entry)


def readable_record(folder: Path) -> Record | None:
    try:
        return record.read(folder)
    except ValueError:
        return None


def require_own_folder(folder: Path, entry: Record, config: dict[str, Any]) -> None:
    """Raises ValueError where another run of the same command has the folder."""
    if is_of_this_launch(entry) and not is_of(entry, config):
        changed = "; ".join(difference(entry["config"], config))
        raise ValueError(
            f"expected a folder for each run of a command, got two for {folder} ({changed}): let "
            "hydra.sweep.subdir tell them apart, or launch them into sweeps of their own"
        )


def is_of_this_launch(entry: Record) -> bool:
    launch = run_name.launch()
    return launch is not None and record.nested_dict(entry, "launch").get("id") == launch["id"]


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
        log.warning("%s; it is now %s", printable(str(error)), UNREADABLE)
        return None


def require_same_setting(
    cfg: DictConfig,
    setting: Mapping[str, Any],
    checksum_of: Callable[[DictConfig], str | None] = data_checksum,
) -> None:
    """Raises ValueError unless versions and data are those of the earlier try."""
    folder = Path(cfg.run.folder)
    then = setting["versions"]
    now = provenance.series(provenance.versions())
    if then != now:
        raise ValueError(
            f"{folder} holds a run of other versions ({'; '.join(changes(then, now))}): install "
            f"those, {WAYS_ON}"
        )
    checksum = setting["data"]
    if checksum is not None:  # else it was stopped before it had read them
        require_checksum(checksum, checksum_of(cfg), folder, WAYS_ON)


def starts_over(cfg: DictConfig, config: dict[str, Any], previous: Record) -> bool:
    """Whether an earlier try's checkpoints are of no use: it was another run, or being replaced."""
    if previous.get("from_start", False) or not is_of(previous, config):
        return True
    if previous["status"] != "failed":
        return False  # `find_previous_run` has asked
    try:
        require_same_setting(cfg, setting_of(previous["provenance"]))
    except ValueError as error:
        log.warning("%s; it failed, so it starts over", printable(str(error)))
        return True
    return False


def require_checkpoint_folder(folder: Path) -> None:
    """Raises ValueError for a link that leads nowhere, before anything is trained for it."""
    path = folder / "checkpoints"
    if path.is_symlink() and not path.is_dir():
        raise ValueError(
            f"expected a folder at {path}, got a link to {path.readlink()}, which is no folder: "
            "mount or make that one, or remove the link"
        )


def continue_record(entry: Record, previous: Record, restart: Restart) -> None:
    """Takes over how far an earlier try came, and what it ran on where that has changed since."""
    entry["metrics"]["epochs"] = restart.metrics["epochs"]
    entry["timing"]["seconds"] = restart.seconds
    timing, ran_on = previous.get("timing", {}), previous.get("provenance", {})
    entry["timing"]["started"] = timing.get("started", entry["timing"]["started"])
    entry["timing"]["resumed"] = timing.get("resumed", 0) + 1
    entry["provenance"]["data"] = restart.setting["data"]
    before = {key: ran_on.get(key) for key in ("git", "versions", "hardware")}
    changed = ran_on and any(entry["provenance"][key] != before[key] for key in before)
    entry["provenance"]["earlier"] = ran_on.get("earlier", []) + [before] * bool(changed)


def clear(folder: Path, checkpoints: Iterable[Path]) -> None:
    """Removes what an earlier try at this run left, so that its curves are not mixed with ours."""
    names = ("hparams.yaml", "curves.csv", "predictions.npz", "projector_config.pbtxt")
    files = [*folder.glob("events.out.tfevents.*"), *(folder / name for name in names)]
    for path in [*files, *checkpoints]:
        path.unlink(missing_ok=True)
    embeddings = [path.parent for path in folder.glob("*/projector")]
    for path in [folder / "wandb", *embeddings]:
        if path.exists() and not path.is_symlink():  # a link's folder may hold more than ours
            shutil.rmtree(path)
