"""The file of initial weights among a run's settings: known by its content, whatever its place."""

import hashlib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

FILE = "pretrained.file"
"""The key that names it."""

DEFAULTS: Mapping[str, Any] = {FILE: None, "pretrained.into": None, "pretrained.leave_out": []}
"""What a run without such a file has of these settings, if its configuration says so or not."""


def checksum(file: str) -> str | None:
    """SHA-256 of the file's content; None if there is no file."""
    path = Path(file)
    if not path.is_file():
        return None
    now = path.stat()
    return _checksum(path.absolute(), now.st_mtime_ns, now.st_size)


@cache  # a run's name is resolved several times
def _checksum(path: Path, changed: int, size: int) -> str:
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def label(file: str, sha256: str | None) -> str:
    """As names of runs and arms have it: `best-1f3a9c2e`, as runs' files have one name."""
    return f"{Path(file).stem}-{sha256[:8]}" if sha256 else Path(file).stem


def labelled(node: Mapping[str, Any]) -> dict[str, Any]:
    """What a run's `pretrained` says of its initial weights, by dotted keys, for its arm."""
    if node.get("file") is None:
        return dict(DEFAULTS)
    own = {key: node.get(key.rpartition(".")[2], value) for key, value in DEFAULTS.items()}
    return {**own, FILE: label(str(node["file"]), node.get("sha256"))}
