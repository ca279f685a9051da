"""What was trained, in a few words: data, network, optimizer, size, date, and by which command."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from runlab import program
from runlab.analysis.formatting import listed
from runlab.config.axes import Axes
from runlab.config.fingerprint import key_of
from runlab.runs.record import local_time, nested_dict
from runlab.text import plural

Record = Mapping[str, Any]

GROUPS = {"data": "data", "model": "network", "loss": "loss", "optimizer": "optimizer"}
"""What each group of the configuration is called on a page."""

SPLITS = {"train": "training", "val": "validation", "test": "test"}
MOST_COMMANDS = 3


def find_facts(records: Sequence[Record], axes: Axes) -> dict[str, str]:
    """Of the runs that have ended, what a reader asks first: a few words by name.

    What the arms differ in is left out, or said to vary; so is what records do not tell.
    """
    facts = {
        title: text
        for group, title in GROUPS.items()
        if (text := _group(records, group, axes)) and group != axes.arm
    }
    facts["batch"] = _same(records, "config", "data", "batch_size")
    facts["epochs"] = _same(records, "config", "trainer", "max_epochs")
    facts["trained"] = _dates(records)
    facts["on"] = listed(sorted({_machine(record) for record in records} - {""}), 2)
    return {name: text for name, text in facts.items() if text}


def _group(records: Sequence[Record], group: str, axes: Axes) -> str:
    names = sorted({_name(record, group) for record in records} - {""})
    if len(names) != 1:
        return f"varies: {listed(names, 4)}" if names else ""
    details = {"data": _samples, "model": _parameters}.get(group)
    return ", ".join(filter(None, [names[0], details(records) if details else ""]))


def _name(record: Record, group: str) -> str:
    """`MLP` of `model=mlp` with a class MLP; else the choice as it is."""
    choice = str(nested_dict(record, "choices").get(group) or "")
    target = nested_dict(record, "config", group).get("_target_")
    kind = str(target or "").rpartition(".")[2]
    alike = kind.casefold() == choice.replace("_", "").casefold()
    return kind if alike or not choice else choice


def _samples(records: Sequence[Record]) -> str:
    """`55,000 training, 5,000 validation, 10,000 test samples`"""
    counts = {
        "train": _values(records, "config", "data", "train_size"),
        "val": _values(records, "metrics", "val/samples"),
        "test": _values(records, "metrics", "test/samples"),
    }
    told = [
        f"{int(values[0]):,} {SPLITS[split]}"
        for split, values in counts.items()
        if len(values) == 1 and isinstance(values[0], int | float)
    ]
    return f"{', '.join(told)} samples" if told else ""


def _parameters(records: Sequence[Record]) -> str:
    values = _values(records, "parameters")
    return f"{values[0]:,} parameters" if len(values) == 1 else ""


def _values(records: Iterable[Record], *keys: str) -> list[Any]:
    """The kinds of values that records have there, each once."""
    *parents, last = keys
    found = [nested_dict(record, *parents).get(last) for record in records]
    return list({str(value): value for value in found if value is not None}.values())


def _same(records: Sequence[Record], *keys: str) -> str:
    values = _values(records, *keys)
    return "" if not values else listed([str(value) for value in values], 4)


def _dates(records: Sequence[Record]) -> str:
    """`28 Nov 2026`, or from the first day to the last: here, as records have the time in UTC."""
    recorded = [value for key in ("started", "latest") for value in _values(records, "timing", key)]
    times = sorted(map(local_time, recorded))
    days = [f"{time:%d %b %Y}".lstrip("0") for time in times]
    return " to ".join(dict.fromkeys([days[0], days[-1]])) if days else ""


def _machine(record: Record) -> str:
    """`NVIDIA H100`, or of a CPU `AMD EPYC, 2 cores`."""
    hardware = nested_dict(record, "provenance", "hardware")
    if hardware.get("gpu"):
        return str(hardware["gpu"])
    cores = hardware.get("cores")
    parts = [hardware.get("cpu"), plural(cores, "core") if isinstance(cores, int) else None]
    return ", ".join(str(part) for part in parts if part)


def find_commands(records: Sequence[Record]) -> list[str]:
    """The commands that train these runs again, for bash and zsh: one for each launch of a grid.

    Empty where they are more than three, or a launch was no grid, as that of a search is none.
    """
    launches: dict[Any, list[Record]] = {}
    for index, record in enumerate(records):
        launches.setdefault(nested_dict(record, "launch").get("id", index), []).append(record)
    commands = [_command(own) for own in launches.values()]
    if len(commands) > MOST_COMMANDS or not all(commands):
        return []
    return [command for command in commands if command]


def _command(records: Sequence[Record]) -> str | None:
    values: dict[str, dict[str, None]] = {}
    for record in records:
        for override in record.get("overrides") or ():
            values.setdefault(key_of(override), {})[override] = None
    if math.prod(map(len, values.values())) != len(records):
        return None
    is_sweep = nested_dict(records[0], "launch") != {}
    order = sorted(values, key=lambda key: (key != "experiment", len(values[key]) > 1))
    words = ["train", *["-m"] * is_sweep, *(_joined(values[k]) for k in order)]
    return program.command(*words)


def _joined(overrides: Iterable[str]) -> str:
    """`seed=0,1` of `seed=0` and `seed=1`, in the order of numbers."""
    first, *_ = overrides = sorted(overrides, key=_by_number)
    return ",".join([first, *(override.partition("=")[2] for override in overrides[1:])])


def _by_number(override: str) -> tuple[float, str]:
    try:
        return float(override.partition("=")[2]), ""
    except ValueError:
        return math.inf, override
