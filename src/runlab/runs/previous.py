"""An earlier try at a run: whether it is gone on with, what is taken over of it, what removed."""

import logging
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from runlab.components import require_data
from runlab.config import run_name
from runlab.config.fingerprint import changes, fingerprint
from runlab.runs import provenance, record
from runlab.runs.restart import WAYS_ON, Restart, another_configuration

log = logging.getLogger(__name__)

Record = dict[str, Any]

UNREADABLE = "run.json.unreadable"


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
    checksum = previous["provenance"]["data"]
    if checksum is not None:  # else it was stopped before it had read them
        require_data(checksum, cfg.data, folder, WAYS_ON)
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


def starts_over(previous: Record) -> bool:
    """Whether an earlier try's checkpoints are of no use: it failed, or was being replaced."""
    return previous["status"] == "failed" or previous.get("from_start", False)


def continue_record(entry: Record, previous: Record, restart: Restart) -> None:
    """Takes over how far an earlier try came, and what it ran on where that has changed since."""
    entry["metrics"]["epochs"] = restart.metrics["epochs"]
    entry["timing"]["seconds"] = restart.seconds
    timing, ran_on = previous.get("timing", {}), previous.get("provenance", {})
    entry["timing"]["started"] = timing.get("started", entry["timing"]["started"])
    entry["timing"]["resumed"] = timing.get("resumed", 0) + 1
    entry["provenance"]["data"] = ran_on.get("data")
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
        if path.exists():
            shutil.rmtree(path)
