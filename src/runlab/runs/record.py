"""The run record: `run.json` in a run's folder says what was trained, how it ended, and on what."""

import difflib
import json
import math
import os
import stat
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from runlab import atomic, program
from runlab.runs import record_rules
from runlab.text import printable, shortened

STATUSES = ("running", "finished", "diverged", "collapsed", "failed", "interrupted")
"""Those that this release writes. Others may come: who reads a record takes no part in them."""

UNSOUND = ("diverged", "collapsed")
ENDED = ("finished", *UNSOUND)
"""Outcomes: nothing is left to train, and all belong in every mean.

Of a run that diverged a loss or metric is not finite. One that collapsed has only finite ones, and
its module says that it guesses; earlier releases wrote `diverged` for it too.
"""

LAYOUT = 2
"""Of a record: which keys it has, and what they mean."""

CHECKPOINTS_REMOVED = "checkpoints_removed"
"""Key of when a run's checkpoints were removed to free disk space; absent where they were not."""

TRAINED_WITH = ("seed", "threads", "module", "data", "trainer")
"""Keys without which no configuration can be trained."""

LARGEST = 2**24
DEEPEST = 50
"""Bytes of a record's file, and levels of mappings and lists in it, one in the other."""


class LayoutError(ValueError):
    """A record that another version of the engine wrote: sound, but not for this one to read."""


def read(folder: Path) -> dict[str, Any]:
    """The record of the run in this folder, of which every key is what `record_rules` says.

    Its status may be one that this release does not know.

    Raises:
        LayoutError: if it is of another layout.
        ValueError: if there is none, or it is no sound one: which file, which key, what it holds.
    """
    path = folder / "run.json"
    record = _parsed(path)
    if not isinstance(record, dict) or not record_rules.is_word(record.get("status")):
        raise _no_record(path, "JSON without a status")
    layout = record.get("layout", 1)
    if not record_rules.is_positive_count(layout):
        raise _no_record(path, f"one whose layout is {record_rules.shown(layout)}")
    if layout != LAYOUT:
        version = nested_dict(record, "provenance", "versions")
        wrote = version.get("runlab") or version.get("losslab") or "of another version"
        raise LayoutError(
            f"expected a run record of layout {LAYOUT} in {path}, got layout {layout}, which "
            f"release {wrote} wrote: read it with that release, or train into another sweep"
        )
    if (problem := record_rules.find_problem(record)) is not None:
        raise _no_record(path, f"{problem}: restore the file, or train the run again")
    return record


def read_complete(folder: Path) -> dict[str, Any]:
    """As `read`, of a run that can be trained again: its configuration lacks nothing.

    Raises:
        ValueError: as `read` does, and if it lacks something.
    """
    record = read(folder)
    for key in TRAINED_WITH:
        if record["config"].get(key) is None:
            raise ValueError(f"expected config.{key} in {folder / 'run.json'}, got none")
    return record


def _parsed(path: Path) -> Any:
    """What `strict_json` makes of the file."""
    try:
        is_file, size = stat.S_ISREG((found := path.stat()).st_mode), found.st_size
        if is_file and size > LARGEST:
            raise _no_record(path, f"a file of {size:,} bytes, more than {LARGEST:,}")
        if not is_file and not path.is_dir():  # reading a pipe would wait for ever
            raise _no_record(path, "what is no regular file")
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ValueError(f"expected a run record at {path}, got no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise _no_record(path, f"an unreadable file: {error}") from error
    try:
        return strict_json(text)
    except (ValueError, RecursionError) as error:
        raise _no_record(path, f"an unreadable file: {error}") from error


def strict_json(text: str, deepest: int = DEEPEST) -> Any:
    """No key twice in a mapping, every number finite, every text one of Unicode's, without NUL.

    Raises:
        ValueError, RecursionError: for anything else, and for more levels than these.
    """
    content = DECODER.decode(text)
    may_be_deeper = text.count("{") + text.count("[") > deepest
    if may_be_deeper and record_rules.is_deeper(content, deepest):
        raise ValueError(f"it is nested deeper than {deepest} levels")
    if "\\u" in text:  # a file's own bytes are Unicode, and JSON has no NUL but by its number
        # with NUL two texts are equal in one library, not in another; JSON holds it as this alone
        if "\\u0000" in text and holds_nul(content):
            raise ValueError("a text in it holds the character NUL")
        if "\\ud" in text or "\\uD" in text:  # half of a pair, which no file can hold
            json.dumps(content, ensure_ascii=False).encode()
    return content


def holds_nul(content: Any) -> bool:
    if isinstance(content, dict):
        return any(holds_nul(each) for pair in content.items() for each in pair)
    if isinstance(content, list):
        return any(map(holds_nul, content))
    return isinstance(content, str) and "\0" in content


def _number(text: str) -> float:
    if not math.isfinite(number := float(text)):
        raise ValueError(f"{text} is no finite number")
    return number


def _integer(text: str) -> int:
    if abs(number := int(text)) >= 2**64:
        raise ValueError(f"{shortened(text, 30)} is too large a number")
    return number


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    mapping = dict(pairs)
    if len(mapping) < len(pairs):
        twice = next(key for key, _ in pairs if [each for each, _ in pairs].count(key) > 1)
        raise ValueError(f"{json.dumps(twice)} stands twice in one mapping")
    return mapping


def _no_record(path: Path, got: str) -> ValueError:
    return ValueError(f"expected a run record in {path}, got {got}")


DECODER = json.JSONDecoder(
    parse_constant=_number,
    parse_float=_number,
    parse_int=_integer,
    object_pairs_hook=_unique,
)


def folders(sweep: Path) -> list[Path]:
    """The folders of a sweep's runs: those with a record, readable or not.

    Raises:
        ValueError: if there are none.
    """
    if found := [folder for folder in launched_folders(sweep) if is_run(folder)]:
        return found
    raise no_runs(sweep)


def require_runs(sweep: Path) -> None:
    """Raises ValueError if there are none, as `folders` does; looks no further than the first."""
    if not (sweep.is_dir() and any(map(is_run, sweep.iterdir()))):
        raise no_runs(sweep)


def launched_folders(sweep: Path) -> list[Path]:
    """Those with a record, and those that were made for a run that never began.

    None where there are none, and where there is no such sweep.
    """
    if not sweep.is_dir():
        return []
    return sorted(folder for folder in sweep.iterdir() if is_run(folder) or was_launched(folder))


def was_launched(folder: Path) -> bool:
    """Whether a run's lock was taken there; earlier releases kept Hydra's files as well."""
    return (folder / ".lock").is_file() or (folder / ".hydra").is_dir()


def is_sweep(folder: Path) -> bool:
    """Whether runs were launched into it, though none may have begun."""
    return (folder / "multirun.yaml").exists() or bool(launched_folders(folder))


def no_runs(sweep: Path) -> ValueError:
    """Says what is there in place of a sweep with runs."""
    if not sweep.is_dir():
        known = [path.name for path in sweep.parent.glob("*/") if path.is_dir()]
        near = difflib.get_close_matches(sweep.name, known, n=1)
        named = printable(str(sweep.with_name(near[0]))) if near else "one, such as logs/<sweep>"
        return ValueError(
            f"expected the folder of a sweep, got {sweep}, which is not a folder; name {named}"
        )
    if is_run(sweep):
        return ValueError(
            f"expected the folder of a sweep, got {sweep}, which is a single run; "
            f"name the folder that holds it: {sweep.resolve().parent}"
        )
    readable_ones = (each for each in sorted(sweep.iterdir()) if os.access(each, os.R_OK | os.X_OK))
    if inner := next(filter(is_sweep, readable_ones), None):
        return ValueError(
            f"expected the folder of a sweep, got {sweep}, which holds sweeps: name one, such as "
            f"{inner}; {printable(program.command('index', str(sweep)))} lists all"
        )
    return ValueError(
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


def why_no_checkpoint(path: Path) -> str:
    """That the run's checkpoints were removed to free disk space, where its record says so."""
    for folder in list(path.parents)[:2]:
        with suppress(ValueError):
            if when := read(folder).get(CHECKPOINTS_REMOVED):
                return (
                    f": the run's checkpoints were removed at {when} ({program.name()} clean, "
                    "or keep_checkpoints=false); train it again with overwrite=true"
                )
    return ""


def local_time(recorded: str) -> datetime:
    """A time of a record on the clock of this machine; one that names no zone is UTC, as all are.

    Raises:
        ValueError: if it is no time.
    """
    time = datetime.fromisoformat(recorded)
    return (time if time.tzinfo else time.replace(tzinfo=UTC)).astimezone()


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
