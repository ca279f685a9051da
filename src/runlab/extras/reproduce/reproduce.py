"""Training a run again from its record, and how far the metrics come out apart."""

import math
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from runlab.components import located, received_data, require_data, to_train_again
from runlab.config import fingerprint
from runlab.runs import record
from runlab.text import aligned, exact, wrapped
from runlab.train import train


@dataclass(frozen=True)
class Reproduction:
    """A run's record and that of the same run trained again, in `folder`."""

    folder: Path
    then: dict[str, Any]
    now: dict[str, Any]

    @property
    def drift(self) -> dict[str, float]:
        """New minus old value of each metric; NaN where only one of them is a finite number."""
        names = self.then["metrics"].keys() | self.now["metrics"].keys()
        return {
            name: difference(self.then["metrics"].get(name), self.now["metrics"].get(name))
            for name in sorted(names)
        }

    def largest_drift(self) -> float:
        return max((math.inf if math.isnan(d) else abs(d) for d in self.drift.values()), default=0)

    @property
    def changes_since(self) -> list[str]:
        """`key: old -> new` for what the metrics may depend on besides the configuration."""
        then, now = (
            fingerprint.flatten(
                {key: entry["provenance"][key] for key in ("git", "versions", "hardware")}
                | {"stack": entry["timing"].get("stack", 1)}
            )
            for entry in (self.then, self.now)
        )
        return fingerprint.changes(then, now)

    def terminal(self) -> str:
        rows = [
            [name, *map(shown, (self.then["metrics"].get(name), self.now["metrics"].get(name), d))]
            for name, d in self.drift.items()
        ]
        same = self.then["status"] == self.now["status"] and self.largest_drift() == 0
        verdict = (
            f"reproduced: {self.now['status']}, all {len(rows)} metrics equal, bit for bit"
            if same
            else f"not the same: {self.then['status']} then, {self.now['status']} now, the largest "
            f"drift {shown(self.largest_drift())}"
        )
        changed = "; ".join(self.changes_since) or "nothing"
        stack = self.then["timing"].get("stack", 1)
        if stack > 1 and not same:
            changed += (
                f"; it was one of a stack of {stack}, which rounds otherwise than a run alone, and "
                "training carries that on: --tolerance says how large a drift may be"
            )
        return "\n".join(
            [
                *aligned(["metric", "then", "now", "drift"], rows),
                "",
                *wrapped(f"{verdict} ({self.folder})"),
                *wrapped(f"changed since: {changed}"),
            ]
        )


def reproduce(run: Path, folder: Path | None = None, data_dir: Path | None = None) -> Reproduction:
    """Trains a run again, in a folder where there is none; by default in `<sweep>-reproduced`.

    Args:
        data_dir: where the data lie, if not where they lay for the run.

    Raises:
        ValueError: if there is no run that has ended, if the new folder holds one, if the data are
            other ones, or if the record names what it may not.
    """
    then = record.read_complete(run)
    if then["status"] not in record.ENDED:
        raise ValueError(f"expected a run that has ended in {run}, got one {then['status']}")
    folder = folder or unused_folder(run.resolve())
    if (folder / "run.json").exists():
        raise ValueError(f"expected a folder without a run, got {folder}: choose another")
    config = located(then["config"], str(data_dir) if data_dir else None)
    cfg = to_train_again(
        config,
        name=run.resolve().name,
        label=run.resolve().name,
        position="",
        folder=str(folder),
        overrides=then["overrides"],
        choices=then["choices"],
    )
    require_data(then["provenance"]["data"], received_data(config), run)
    folder.mkdir(parents=True, exist_ok=True)
    train(cfg)
    return Reproduction(folder, then, record.read(folder))


def unused_folder(run: Path) -> Path:
    """`logs/first/<run>` becomes `logs/first-reproduced/<run>`, or `-reproduced-2` and so on."""
    for number in count(1):
        sweep = f"{run.parent.name}-reproduced{f'-{number}' if number > 1 else ''}"
        folder = run.parent.with_name(sweep) / run.name
        if not folder.exists():
            return folder
    raise AssertionError


def difference(then: float | None, now: float | None) -> float:
    if then is None or now is None:
        return 0.0 if then == now else math.nan
    return now - then


def shown(value: float | None) -> str:
    return "—" if value is None or not math.isfinite(value) else exact(float(value))
