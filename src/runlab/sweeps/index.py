"""All sweeps of a folder of logs at one look: a page and a table, newest first."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from runlab import atomic, program
from runlab.analysis import greys
from runlab.analysis.templates import new_environment
from runlab.console import BOLD, columns, painted
from runlab.sweeps.summary import Sweep
from runlab.text import printable, shortened, size_text, wrapped

PAGE = "index.html"
MARK = '<meta name="generator" content="runlab index">'
"""Tells a page that is written here from another file of its name."""

TEMPLATE = "index.html.jinja"


def write_index(logs: Path, sweeps: Sequence[Sweep]) -> Path:
    """Writes `index.html` into the folder of all sweeps; returns its path.

    Raises:
        ValueError: if there is another file of that name.
    """
    path = logs / PAGE
    if path.exists() and MARK not in path.read_text(encoding="utf-8", errors="replace"):
        raise ValueError(f"expected {path} to be free, got a file that is no index: move it")
    atomic.replace(path, to_index_page(sweeps).encode())
    return path


def to_index_page(sweeps: Sequence[Sweep]) -> str:
    environment = new_environment(Path(__file__).parent)
    environment.globals.update(size_text=size_text, program=program.name())
    return environment.get_template(TEMPLATE).render(
        sweeps=sweeps,
        css_variables=greys.css_variables(),
        written=f"{datetime.now():%Y-%m-%d %H:%M}",
        total=size_text(sum(sweep.size for sweep in sweeps)),
    )


NUMBERS = "{:>16}  {:>5}  {:>9}"
"""Columns of the table, beside the name."""


def index_table(sweeps: Sequence[Sweep]) -> list[str]:
    """Lines for a terminal: below each sweep what is concluded."""
    free = columns() - len(NUMBERS.format("", "", "")) - 2
    names = [shortened(printable(sweep.name), free) for sweep in sweeps]
    width = max(map(len, [*names, "sweep"]))
    lines = [f"{'sweep':{width}}  {NUMBERS.format('latest run', 'runs', 'size')}"]
    lines.append("-" * len(lines[0]))
    for name, sweep in zip(names, sweeps, strict=True):
        numbers = NUMBERS.format(sweep.day, sweep.runs, size_text(sweep.size))
        told = [line for verdict in sweep.verdicts for line in wrapped(verdict, bullet="  ")]
        lines.append(f"{name:{width}}  {numbers}")
        lines += [painted(line, BOLD) for line in told] if sweep.is_concluded else told
    return lines
