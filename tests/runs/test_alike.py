"""Records read by their members are what `record.read` makes of them, whatever stands in a file."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from runlab.measure import Measure
from runlab.runs import alike, record
from tests.analysis.synthetic import write_complete_run

BYTES = [b"{", b"}", b'"', b",", b"\n", b" ", b"1", b"-", b"\\", b"\xff", b"\\u0000", b"\\ud800"]


def outcome(read: Any, folder: Path) -> str:
    try:
        return json.dumps(read(folder))  # by their texts 1, 1.0 and true differ
    except ValueError as error:
        return f"{type(error).__name__}: {error}"


def changed(lines: list[bytes], draws: np.random.Generator) -> bytes:
    """A record's file in which something is replaced, left out, repeated or moved."""
    first, second = draws.integers(len(lines), size=2).tolist()
    lines = list(lines)
    match draws.integers(4):
        case 0:
            del lines[first]
        case 1:
            lines.insert(second, lines[first])
        case 2:
            lines[first], lines[second] = lines[second], lines[first]
        case _:
            content = bytearray(b"\n".join(lines))
            place = int(draws.integers(len(content)))
            content[place : place + 1] = BYTES[draws.integers(len(BYTES))]
            return bytes(content)
    return b"\n".join(lines)


def test_whatever_changes_in_a_file_it_is_read_as_records_are(tmp_path: Path) -> None:
    run = write_complete_run(tmp_path, "mse", 0.1, 3, 0.9)
    record.write(run, record.read(run))
    lines = (run / "run.json").read_bytes().split(b"\n")
    draws, sound = np.random.default_rng(0), 0
    for _ in range(400):
        (run / "run.json").write_bytes(changed(lines, draws))
        expected = outcome(record.read, run)
        assert outcome(alike.read, run) == expected
        sound += not expected.startswith(("ValueError", "LayoutError"))
    assert 10 < sound < 390


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("metrics", {"val/accuracy": 1.5}),
        ("config", {"seed": -1}),
        ("measures", [Measure("", "").to_record()]),
        ("layout", 1),
        ("sweep_index", {"number": 1}),
    ],
)
def test_what_breaks_a_rule_is_told_as_records_tell_it(
    tmp_path: Path, key: str, value: object
) -> None:
    run = write_complete_run(tmp_path, "mse", 0.1, 3, 0.9)
    entry = record.read(run)
    alike.read(run)
    record.write(run, entry | {key: value})
    assert outcome(alike.read, run) == outcome(record.read, run)
    assert "Error: " in outcome(alike.read, run)


def test_what_two_records_have_in_common_is_one_object(tmp_path: Path) -> None:
    runs = [write_complete_run(tmp_path, "mse", 0.1, seed, 0.9) for seed in (0, 1)]
    for run in runs:
        record.write(run, record.read(run))
    first, second = map(alike.read, runs)
    assert first["measures"] is second["measures"]
    assert first["config"]["optimizer"] is second["config"]["optimizer"]
    assert first["config"]["seed"] != second["config"]["seed"]
