"""Whether two sweeps of the same command have the same numbers, as far as rounding allows."""

from pathlib import Path

import pytest

from runlab.runs import record


def assert_same_runs(sweep: Path, expected: Path) -> None:
    """Runs that train with others at other times round differently: a few of the last digits."""
    ours, theirs = (
        {folder.name: record.read(folder) for folder in record.folders(each)}
        for each in (sweep, expected)
    )
    assert ours.keys() == theirs.keys()
    for name, entry in ours.items():
        assert entry["status"] == theirs[name]["status"], name
        assert entry["fingerprint"] == theirs[name]["fingerprint"], name
        for metric, value in theirs[name]["metrics"].items():
            assert entry["metrics"][metric] == pytest.approx(value, rel=1e-4, abs=1e-5), name
