"""What is concluded from a sweep, and the files that say so."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from losslab import atomic
from losslab.comparison.cautions import find_cautions
from losslab.comparison.cells import summarize_cells
from losslab.comparison.differences import naive_differences, tuned_differences
from losslab.comparison.figure import sensitivity_figure
from losslab.comparison.markdown import to_markdown
from losslab.comparison.rendering import render
from losslab.comparison.runs import counted, load
from losslab.comparison.summary import summarize_arms
from losslab.comparison.terminal import to_terminal
from losslab.comparison.wording import listed, verdict


@dataclass(frozen=True)
class Comparison:
    """A sweep's tables and sentences. Accuracies are fractions in `runs`, else percent."""

    sweep: Path
    runs: pd.DataFrame
    cells: pd.DataFrame
    summary: pd.DataFrame
    differences: pd.DataFrame
    naive: pd.DataFrame
    warnings: list[str]
    verdict: str

    def terminal(self) -> str:
        return to_terminal(self)

    def markdown(self) -> str:
        return to_markdown(self)

    def write(self) -> Path:
        """The folder `<sweep>/comparison`, its files replaced one by one, each at once."""
        folder = self.sweep / "comparison"
        files = {
            "comparison.md": self.markdown().encode(),
            "cells.csv": self.cells.to_csv(index=False).encode(),
            "runs.csv": self.runs.to_csv(index=False).encode(),
            **render(sensitivity_figure(self.cells), "sensitivity"),
        }
        try:
            folder.mkdir(exist_ok=True)
            for name, content in files.items():
                atomic.replace(folder / name, content)
        except OSError as error:
            raise ValueError(
                f"expected to write the comparison into {folder}, got: {error.strerror}; "
                "free the place or its permissions and run scripts/compare.py again"
            ) from error
        return folder


def compare(sweep: Path) -> Comparison:
    """The comparison of all runs that have ended so far. Raises ValueError when none has."""
    sweep = Path(sweep).resolve()
    runs = load(sweep)
    if counted(runs).empty:
        raise ValueError(
            f"expected at least one finished run in {sweep}, got {_what_is_there(runs)}"
        )
    cells = summarize_cells(runs)
    summary = summarize_arms(runs, cells)
    differences = tuned_differences(runs, summary)
    return Comparison(
        sweep=sweep,
        runs=runs,
        cells=cells,
        summary=summary,
        differences=differences,
        naive=naive_differences(runs, cells),
        warnings=find_cautions(runs, cells),
        verdict=verdict(summary, differences),
    )


def _what_is_there(runs: pd.DataFrame) -> str:
    groups = runs.groupby("status")["run"]
    found = [f"{len(names)} {status} ({listed(list(names), 3)})" for status, names in groups]
    return ", ".join(found) + "; wait for one to end, or look into what failed"
