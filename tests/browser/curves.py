"""What a run itself keeps of its learning curves, to compare with what is shown of them."""

import csv
from pathlib import Path


def last_epoch(run: Path) -> dict[str, str]:
    with (run / "curves.csv").open() as file:
        return list(csv.DictReader(file))[-1]
