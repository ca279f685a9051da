"""The run record: `run.json` in a run's folder says what was trained, how it ended, and on what."""

import functools
import hashlib
import importlib.metadata
import json
import math
import os
import platform
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from losslab import atomic

STATUSES = ("running", "finished", "diverged", "failed", "interrupted")
ENDED = ("finished", "diverged")
"""Statuses that are outcomes: nothing is left to train, and both belong in every mean."""

PACKAGES = ("losslab", "torch", "torchvision", "lightning", "torchmetrics", "hydra-core", "numpy")
DECISIVE = ("losslab", "torch", "torchvision", "lightning", "torchmetrics")
"""Packages whose release series, 2.15 of 2.15.1, changes what the same configuration trains."""

NOT_IDENTIFYING = (
    *("name", "overwrite", "retry", "fail_fast", "objective", "logger", "comparison"),
    *("data_dir", "data.root", "data.download", "data.verify"),
    *("callback.curves", "callback.gradient_norm", "callback.output_gradient"),
    *("callback.predictions", "callback.progress", "callback.throughput"),
    *("callback.digits", "callback.confusion", "callback.first_layer", "callback.histograms"),
    *("callback.pr_curves", "callback.graph", "callback.projector"),
)
"""Settings that change no result: where a run lies, how it is launched and watched."""


def read(folder: Path) -> dict[str, Any]:
    """The record of the run in this folder.

    Raises:
        ValueError: if there is none, or it is no record.
    """
    path = folder / "run.json"
    try:
        record = json.loads(path.read_text())
    except FileNotFoundError:
        raise ValueError(f"expected a run record at {path}, got no such file") from None
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(
            f"expected a run record in {path}, got an unreadable file: {error}"
        ) from error
    if not isinstance(record, dict) or record.get("status") not in STATUSES:
        raise ValueError(f"expected a run record in {path}, got JSON without a known status")
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


def mapping(outer: Mapping[str, Any], *keys: str) -> dict[str, Any]:
    """The mapping under these keys, one in the other; empty where there is none."""
    for key in keys:
        value = outer.get(key)
        outer = value if isinstance(value, dict) else {}
    return dict(outer)


def write(folder: Path, record: Mapping[str, Any]) -> None:
    """Replaces the record atomically; numbers that are not finite are written as null."""
    atomic.replace(folder / "run.json", json.dumps(finite(record), indent=1).encode())


def finite(value: Any) -> Any:
    """The same nested value with null for every number that is not finite."""
    if isinstance(value, Mapping):
        return {key: finite(child) for key, child in value.items()}
    if isinstance(value, list | tuple):
        return [finite(child) for child in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def identity(config: Mapping[str, Any]) -> dict[str, Any]:
    """What a run's result depends on, of a resolved configuration: values by dotted keys."""
    return {key: value for key, value in flatten(config).items() if identifies(key)}


def key_of(override: str) -> str:
    """`optimizer.lr` of `+optimizer.lr=0.1`."""
    return override.lstrip("+~").partition("=")[0]


def identifies(key: str) -> bool:
    """Whether a run's result may depend on the setting with this dotted key."""
    return not any(key == other or key.startswith(f"{other}.") for other in NOT_IDENTIFYING)


def fingerprint(config: Mapping[str, Any]) -> str:
    """SHA-256 of what a run's result depends on."""
    text = json.dumps(identity(config), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def difference(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """`key: old -> new` for each identifying value in which two configurations differ."""
    return changes(identity(old), identity(new))


def series(versions: Mapping[str, str]) -> dict[str, str]:
    """Release series of the packages that decide about a result: `{"torch": "2.15"}`."""
    return {
        name: ".".join(versions[name].split("+")[0].split(".")[:2])
        for name in DECISIVE
        if name in versions
    }


def changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """`key: old -> new` for each key in which two flat mappings differ."""
    return [
        f"{key}: {old.get(key)} -> {new.get(key)}"
        for key in sorted(old.keys() | new.keys())
        if old.get(key) != new.get(key)
    ]


def flatten(node: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one, with dotted keys."""
    flat: dict[str, Any] = {}
    for key, value in node.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def provenance() -> dict[str, Any]:
    """What a result may depend on besides its configuration.

    `data`, the data's checksum, is null as yet; `earlier` is for what it ran on before it was
    stopped and gone on with elsewhere.
    """
    return {
        "git": git_state(),
        "versions": versions(),
        "hardware": hardware(),
        "data": None,
        "earlier": [],
    }


@functools.cache
def versions() -> dict[str, str]:
    packages = {name: importlib.metadata.version(name) for name in PACKAGES}
    return {"python": platform.python_version(), **packages}


@functools.cache
def git_state() -> dict[str, Any]:
    """The revision of the code that runs, null where it lies in no git checkout."""
    here = Path(__file__).parent

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(here), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        return {"revision": git("rev-parse", "HEAD"), "dirty": bool(git("status", "--porcelain"))}
    except (OSError, subprocess.CalledProcessError):
        return {"revision": None, "dirty": None}


@functools.cache
def hardware() -> dict[str, Any]:
    import torch  # seconds, which whoever only reads records need not wait

    return {
        "cpu": cpu_name(),
        "cores": os.cpu_count(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "platform": platform.platform(),
    }


def cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
