"""Closed streams, encodings that lack characters, readers that go away: nothing is lost by them."""

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from runlab.cli import streams
from runlab.runs import record
from tests.analysis.synthetic import write_sweep
from tests.commands import ROOT

TRAIN, SWEEP = "scripts/train.py", ["loss=mse,cross_entropy", "trainer.max_epochs=1", "name=sweep"]
SAID = "1 ± 2 ≤ 3 × 4 … ŷ"


@pytest.fixture
def printed(tmp_path, monkeypatch):
    """What is in a file of this encoding after the text was printed to it."""

    def print_to_file(text: str, encoding: str, buffered: bool = True) -> bytes:
        path = tmp_path / "printed"
        with path.open("wb", buffering=0) as raw:
            buffer = io.BufferedWriter(raw) if buffered else raw
            file = io.TextIOWrapper(buffer, encoding, write_through=not buffered)
            monkeypatch.setattr(sys, "stdout", file)
            streams.prepare()
            streams.prepare()
            print(text, flush=True)
            monkeypatch.undo()
        return path.read_bytes()

    return print_to_file


@pytest.mark.parametrize("buffered", [True, False])
@pytest.mark.parametrize(
    ("encoding", "expected"),
    [
        ("ascii", b"1 +- 2 <= 3 x 4 ... \\u0177\n"),
        ("latin-1", b"1 \xb1 2 <= 3 \xd7 4 ... \\u0177\n"),
        ("cp1252", b"1 \xb1 2 <= 3 \xd7 4 \x85 \\u0177\n"),
        ("utf-8", f"{SAID}\n".encode()),
    ],
)
def test_a_character_that_the_encoding_lacks_is_printed_in_ascii(
    printed, encoding, expected, buffered
):
    assert printed(SAID, encoding, buffered) == expected


def test_a_name_that_is_no_text_is_printed_too(printed):
    assert printed("\udcff", "utf-8") == b"\\udcff\n"


def test_what_another_has_put_in_place_of_a_stream_is_left_alone(monkeypatch):
    class Notebook:
        pass

    other = Notebook()
    monkeypatch.setattr(sys, "stdout", other)
    streams.prepare()
    assert sys.stdout is other


@pytest.mark.long
@pytest.mark.parametrize("closed", [(2,), (1,), (0, 1, 2)])
def test_a_daemon_that_has_no_streams_trains(commands, tiny, tmp_path, closed):
    done = commands.run(tmp_path, TRAIN, "-m", *tiny, *SWEEP, closed=closed)
    assert done.returncode == 0, done.stdout + done.stderr
    assert_complete(tmp_path / "logs" / "sweep")


@pytest.mark.long
@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_a_terminal_that_is_not_utf_8_gets_the_conclusion(commands, tiny, tmp_path, encoding):
    environment = {"PYTHONIOENCODING": encoding}
    arguments = ["-m", *tiny, *SWEEP, "seed=0,1"]
    process = commands.start(tmp_path, TRAIN, *arguments, environment=environment)
    assert process.wait() == 0, process.errors.read_bytes()
    said = process.output.read_bytes().decode(encoding)
    assert f"{'+-' if encoding == 'ascii' else '±'} " in said
    assert "comparison.html" in said
    assert_complete(tmp_path / "logs" / "sweep")


@pytest.mark.long
def test_processes_of_a_launcher_print_everywhere_too(commands, tiny, tmp_path):
    environment = {"PYTHONIOENCODING": "ascii"}
    arguments = [*SWEEP, "hydra/launcher=processes", "hydra.launcher.n_jobs=2"]
    done = commands.run(tmp_path, TRAIN, "-m", *tiny, *arguments, environment=environment)
    assert done.returncode == 0, done.stderr
    assert "Error" not in done.stdout + done.stderr
    assert_complete(tmp_path / "logs" / "sweep")


@pytest.mark.long
def test_a_sweep_whose_reader_went_away_is_trained_and_concluded(commands, tiny, tmp_path):
    done = commands.run(tmp_path, TRAIN, "-m", *tiny, *SWEEP, unread=[1])
    assert (done.returncode, "Error" in done.stderr) == (0, False), done.stderr
    assert_complete(tmp_path / "logs" / "sweep")


def assert_complete(sweep: Path) -> None:
    entries = [record.read(path.parent) for path in sweep.glob("*/run.json")]
    assert {entry["status"] for entry in entries} == {"finished"}
    assert len(entries) in (2, 4)
    assert "cross_entropy" in (sweep / "comparison" / "comparison.md").read_text(encoding="utf-8")
    assert (sweep.with_name(f"{sweep.name}.aggregates")).is_dir()


@pytest.fixture
def sweep(tmp_path):
    return write_sweep(tmp_path / "sweep", {("mse", 0.1): [0.8, 0.9]})


def status(sweep: Path, before: str = "", **options: object) -> subprocess.CompletedProcess[bytes]:
    """What `status.py` does in a new process, under a shell that changes its streams."""
    command = f"'{sys.executable}' '{ROOT}/scripts/status.py' '{sweep}' {before}"
    return subprocess.run(["sh", "-c", command], capture_output=True, timeout=60, **options)  # type: ignore[call-overload]


def test_a_reader_that_goes_away_hears_nothing_of_it(sweep):
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as pipe:
        command = [sys.executable, ROOT / "scripts" / "status.py", sweep]
        done = subprocess.run(command, stdout=pipe, stderr=subprocess.PIPE, timeout=60)
    assert (done.returncode, done.stderr) == (0, b"")


def test_without_any_stream_a_script_ends_well(sweep):
    done = status(sweep, "<&- >&- 2>&-")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


@pytest.mark.long
def test_a_full_disk_under_the_output_is_told(sweep):
    if not Path("/dev/full").exists():
        pytest.skip("needs a device that is always full")
    done = status(sweep, ">/dev/full")
    assert done.returncode != 0
    assert b"No space left on device" in done.stderr
