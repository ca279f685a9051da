"""Sweeps to look at, and what has changed in them."""

from dataclasses import dataclass, field
from pathlib import Path

from runlab.runs import record


def newest(logs: Path) -> Path:
    """The sweep whose record was written last.

    Raises:
        ValueError: if there is none.
    """
    written = {path: path.stat().st_mtime_ns for path in logs.glob("*/*/run.json")}
    if not written:
        begun = [path for path in logs.glob("*/") if _is_launched(path)]
        if begun:
            sweep = max(begun, key=lambda path: path.stat().st_mtime_ns)
            raise ValueError(
                f"expected a run in {sweep}, got a sweep with no run that began yet: try again in "
                "a moment"
            )
        raise ValueError(
            f"expected a sweep in {logs}, got none: launch one, such as python scripts/train.py -m "
            "loss=mse,cross_entropy, or name its folder"
        )
    return max(written, key=lambda path: written[path]).parents[1]


@dataclass
class Outcomes:
    """Which runs of a sweep have ended. A record is read again only if it was written again."""

    sweep: Path
    seen: dict[Path, tuple[int, bool]] = field(default_factory=dict)

    def look(self) -> frozenset[tuple[str, int]]:
        """Another set when a run has ended since, or ended anew."""
        self.seen = {
            path: self._seen(path) for path in self.sweep.glob("*/run.json") if path.exists()
        }
        return frozenset(
            (path.parent.name, time) for path, (time, ended) in self.seen.items() if ended
        )

    def _seen(self, path: Path) -> tuple[int, bool]:
        time = path.stat().st_mtime_ns
        before = self.seen.get(path)
        return before if before and before[0] == time else (time, _has_ended(path.parent))


def _is_launched(sweep: Path) -> bool:
    """Whether Hydra has made it, though it may have no record as yet."""
    return (sweep / "multirun.yaml").exists() or any(sweep.glob("*/.hydra"))


def _has_ended(run: Path) -> bool:
    try:
        return record.read(run)["status"] in record.ENDED
    except ValueError:
        return False  # the comparison names it
