"""The run record: `run.json` in a run's folder says what was trained, how it ended, and on what."""

import json
import math
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from runlab import atomic

STATUSES = ("running", "finished", "diverged", "failed", "interrupted")
ENDED = ("finished", "diverged")
"""Statuses that are outcomes: nothing is left to train, and both belong in every mean."""

LAYOUT = 2
"""Of a record: which keys it has, and what they mean."""


class LayoutError(ValueError):
    """A record that another version of the engine wrote: sound, but not for this one to read."""


def read(folder: Path) -> dict[str, Any]:
    """The record of the run in this folder.

    Raises:
        LayoutError: if it is of another layout.
        ValueError: if there is none, or it is no record.
    """
    path = folder / "run.json"
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ValueError(f"expected a run record at {path}, got no such file") from None
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(
            f"expected a run record in {path}, got an unreadable file: {error}"
        ) from error
    if not isinstance(record, dict) or record.get("status") not in STATUSES:
        raise ValueError(f"expected a run record in {path}, got JSON without a known status")
    if (layout := record.get("layout", 1)) != LAYOUT:
        version = nested_dict(record, "provenance", "versions")
        wrote = version.get("runlab") or version.get("losslab") or "of another version"
        raise LayoutError(
            f"expected a run record of layout {LAYOUT} in {path}, got layout {layout}, which "
            f"release {wrote} wrote: read it with that release, or train into another sweep"
        )
    return record


def folders(sweep: Path) -> list[Path]:
    """The folders of a sweep's runs: those with a record, readable or not.

    Raises:
        ValueError: if there are none.
    """
    if not sweep.is_dir():
        raise ValueError(
            f"expected the folder of a sweep, got {sweep}, which is not a folder; "
            "name one, such as logs/<sweep>"
        )
    if found := sorted(filter(is_run, sweep.iterdir())):
        return found
    if is_run(sweep):
        raise ValueError(
            f"expected the folder of a sweep, got {sweep}, which is a single run; "
            f"name the folder that holds it: {sweep.resolve().parent}"
        )
    raise ValueError(
        f"expected folders with a run.json in {sweep}, got none; "
        "launch runs into it, or name the folder that holds them"
    )


def is_run(folder: Path) -> bool:
    try:
        (folder / "run.json").stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True  # `read` says why it can't be read
    return True


def readable(sweep: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Folder and record of each run in a sweep, of which there may be none; damaged ones left out.

    For whom a damaged record concerns nothing: its own run, and the comparison, speak of it.
    """
    for path in sweep.glob("*/run.json"):
        with suppress(ValueError):
            yield path.parent, read(path.parent)


def nested_dict(outer: Mapping[str, Any], *keys: str) -> dict[str, Any]:
    """The mapping under these keys, one in the other; empty where there is none."""
    for key in keys:
        value = outer.get(key)
        outer = value if isinstance(value, dict) else {}
    return dict(outer)


def write(folder: Path, record: Mapping[str, Any]) -> None:
    """Replaces the record atomically; numbers that are not finite are written as null."""
    atomic.replace(
        folder / "run.json", json.dumps(finite({"layout": LAYOUT} | {**record}), indent=1).encode()
    )


def finite(value: Any) -> Any:
    """The same nested value with null for every number that is not finite."""
    if isinstance(value, Mapping):
        return {key: finite(child) for key, child in value.items()}
    if isinstance(value, list | tuple):
        return [finite(child) for child in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
