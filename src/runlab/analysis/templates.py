"""Templates of pages: what they show is escaped, and what can't be printed is written out."""

from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from runlab.text import plural, printable

HERE = Path(__file__).parent
"""Where the style sheet of all pages lies."""


def new_environment(*folders: Path) -> Environment:
    """With the templates of these folders and of this one."""
    environment = Environment(
        loader=FileSystemLoader([*folders, HERE]), autoescape=True,
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, finalize=_finalize,
    )  # fmt: skip
    environment.globals.update(plural=plural)
    return environment


def _finalize(value: Any) -> Any:
    """What each `{{ }}` is before it is escaped."""
    return printable(value) if type(value) is str else value
