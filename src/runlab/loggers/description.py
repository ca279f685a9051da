"""A run in words, for a dashboard that renders Markdown."""

import shlex
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from runlab.config import fingerprint
from runlab.text import piped

OF_THE_LAUNCH = {"name", "overwrite", "retry", "fail_fast"}


def description(entry: Mapping[str, Any], folder: Path) -> dict[str, str]:
    """Markdown by its subject.

    Args:
        entry: the run's record.
        folder: the run's; it lies in its sweep's.
    """
    again = f"{entry['config']['name']}-again"
    return {
        "command": (
            f"Trains this run again on its own, into `logs/{again}`:\n\n"
            f"{fenced('sh', command(entry['overrides'], again))}"
        ),
        "comparison": (
            f"What the sweep says, once it has ended: open\n\n"
            f"{fenced('', str(folder.parent / 'comparison' / 'comparison.html'))}\n\n"
            "Before that, or without it:\n\n"
            f"{fenced('sh', shlex.join(['python', 'scripts/compare.py', str(folder.parent)]))}"
        ),
        "configuration": fenced("yaml", yaml.safe_dump(entry["config"], sort_keys=False)),
        "provenance": "\n".join(piped(["", "of this run"], provenance(entry))),
    }


def command(overrides: Iterable[str], name: str) -> str:
    """The command line for a run of its own with these overrides, in another sweep."""
    own = [each for each in overrides if fingerprint.key_of(each) not in OF_THE_LAUNCH]
    return shlex.join(["python", "scripts/train.py", *own, f"name={name}"])


def provenance(entry: Mapping[str, Any]) -> list[list[str]]:
    """What it trains on, a row each; not what it trained on before it was resumed elsewhere."""
    now = {key: value for key, value in entry["provenance"].items() if key != "earlier"}
    rows = {"started": entry["timing"]["started"], "data": now.pop("data")} | fingerprint.flatten(
        now
    )
    return [[name, str(value)] for name, value in rows.items()]


def fenced(language: str, text: str) -> str:
    return f"```{language}\n{text.strip()}\n```"
