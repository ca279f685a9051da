"""The one line that says how far a sweep is, on terminals and where there is none."""

import io
import json
import sys
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from runlab import console
from runlab.runs import record
from runlab.sweeps import live, run_status
from runlab.sweeps.live import Failures
from runlab.sweeps.run_status import RunReader, RunStatus
from runlab.sweeps.status import sweep_status
from tests.sweeps.test_status import at, write
from tests.terminal import on_terminal, seen

TRAIN = "scripts/train.py"
ACCURACY = {"name": "accuracy", "title": "accuracy", "unit": "%", "scale": 100.0, "digits": 1,
            "higher_is_better": True}  # fmt: skip


def add(sweep: Path, name: str, state: str = "finished", **entries: Any) -> Path:
    """As `write`, of a run of the process 1, or of another one, with a label and an accuracy."""
    accuracy, process = entries.pop("accuracy", None), entries.pop("process", 1)
    folder = write(sweep, name, state, measures=[ACCURACY], label=f"mse lr {name}", **entries)
    entry = json.loads((folder / "run.json").read_text())
    entry["metrics"]["val/accuracy"] = accuracy
    entry["timing"]["process"] = process
    (folder / "run.json").write_text(json.dumps(entry))
    return folder


@pytest.fixture
def sweep(tmp_path):
    """Two of six have ended, one of each of two stacks of two; their others go on."""
    with ExitStack() as training:
        yield write_sweep(tmp_path, training)


def write_sweep(tmp_path: Path, training: ExitStack) -> Path:
    add(tmp_path, "0.1", started=0, seconds=90.0, sweep_index=(1, 6), accuracy=0.974, epochs=3)
    add(
        tmp_path, "0.2", "diverged", process=2, started=0, seconds=90.0, sweep_index=(2, 6),
        accuracy=0.1, epochs=3,
    )  # fmt: skip
    for number, name in enumerate(("0.3", "0.4")):
        folder = add(
            tmp_path, name, "running", process=number + 1, started=0, sweep_index=(3 + number, 6),
            epochs=2 - number, seconds=60.0,
        )  # fmt: skip
        training.enter_context(FileLock(folder / ".lock"))
    return tmp_path


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        (100, "2/6 (1 diverged) · 2 runs, epoch 2/3 · best val 97.4% mse lr 0.1 · 50 s left"),
        (79, "2/6 (1 diverged) · 2 runs, epoch 2/3 · best val 97.4% mse lr 0.1 · 50 s left"),
        (70, "2/6 · 2 runs, epoch 2/3 · best val 97.4% mse lr 0.1 · 50 s left"),
        (60, "2/6 · 2 runs, epoch 2/3 · best val 97.4% mse lr… · 50 s left"),
        (40, "2/6 · 2 runs, epoch 2/3 · 50 s left"),
    ],
)
def test_a_line_says_how_far_a_sweep_is_in_whatever_room_there_is(sweep, columns, expected):
    # two to come, of 90 s each, and 10 s of the two that run: 200 s, four at a time
    assert sweep_status(sweep, at(80)).line(columns) == expected


def test_runs_of_one_process_are_a_stack(sweep):
    for name in ("0.1", "0.5"):
        add(sweep, f"{name}1", "running", process=1, started=0, sweep_index=(5, 6), epochs=1)
    with FileLock(sweep / "0.11" / ".lock"), FileLock(sweep / "0.51" / ".lock"):
        assert "2 stacks, epoch 2/3" in sweep_status(sweep, at(80)).line(100)


def test_what_has_not_changed_is_not_read_again(sweep, monkeypatch):
    reader, asked = RunReader(sweep), []
    first = sweep_status(reader, at(80))
    monkeypatch.setattr(run_status, "read_status", lambda folder: asked.append(folder.name))
    assert sweep_status(reader, at(80)) == first
    assert asked == []
    monkeypatch.undo()
    entry = record.read(sweep / "0.3")
    record.write(sweep / "0.3", entry | {"status": "finished"})
    assert len(sweep_status(reader, at(80)).with_status("finished")) == 2


def test_a_run_whose_process_died_is_interrupted_though_its_record_stays(sweep):
    folder = add(sweep, "0.9", "running", started=0, sweep_index=(5, 6))
    reader = RunReader(sweep)
    with FileLock(folder / ".lock"):
        assert len(sweep_status(reader).with_status("running")) == 3
    assert [run.name for run in sweep_status(reader).with_status("interrupted")] == ["0.9"]


def test_elsewhere_a_plain_line_is_printed_now_and_then(sweep, monkeypatch, capsys):
    monkeypatch.setattr(live, "EVERY_PLAIN", 0.01)
    with live.LiveLine(sweep) as line:
        line.ended.wait(0.3)
    out, err = capsys.readouterr()
    assert out.splitlines()[0].startswith("2/6 (1 diverged) · 2 runs, epoch 2/3 · best val 97.4%")
    assert ("\x1b" in out, err) == (False, "")


def test_watching_ends_once_nothing_is_being_trained(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(live, "PATIENCE", 0.2)
    training = ExitStack()
    sweep = write_sweep(tmp_path, training)
    timer = threading.Timer(0.3, training.close)
    timer.start()
    live.watch(sweep, 0.05)
    timer.join()
    first, *others = capsys.readouterr().out.splitlines()
    assert first.startswith("2/6 (1 diverged) · 2 runs, epoch 2/3 · best val 97.4% mse lr 0.1 · ")
    assert others[-1] == (
        "The same command goes on with what is left (2 interrupted, 2 not started)."
    )


def test_of_a_sweep_that_is_not_being_trained_nothing_is_watched(tmp_path, capsys):
    add(tmp_path, "0.1", started=0, seconds=90.0, accuracy=0.974)
    live.watch(tmp_path, 60.0)
    assert capsys.readouterr().out == sweep_status(tmp_path).terminal() + "\n"


class Closed(io.StringIO):
    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        raise OSError("Input/output error")


def test_a_terminal_that_is_gone_ends_the_line_and_nothing_else(sweep, monkeypatch):
    monkeypatch.setattr(live, "EVERY", 0.01)
    monkeypatch.setattr(sys, "stderr", Closed())
    with live.LiveLine(sweep) as line:
        line.thread.join(5)
        assert not line.thread.is_alive()


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_folder_that_cannot_be_read_once_leaves_the_line_as_it_was(sweep, monkeypatch):
    answers = iter([sweep_status(sweep, at(80))])

    def read(reader: RunReader) -> Any:
        if (answer := next(answers, None)) is None:
            raise OSError("Stale file handle")
        return answer

    monkeypatch.setattr(live, "EVERY", 0.01)
    monkeypatch.setattr(live, "sweep_status", read)
    monkeypatch.setattr(sys, "stderr", Terminal())
    with live.LiveLine(sweep) as line:
        line.ended.wait(0.3)
        assert line.thread.is_alive()
    drawn = sys.stderr.getvalue().split(console.ERASE)[1:-1]  # type: ignore[attr-defined]
    assert len(drawn) > 2
    assert all("0:00 · 2/6" in each for each in drawn)


def test_a_clock_moves_while_nothing_else_does():
    assert [live.clock_of(each) for each in (0.9, 42, 723, 3723)] == [
        "0:00", "0:42", "12:03", "1:02:03",
    ]  # fmt: skip


@pytest.mark.long
@pytest.mark.parametrize("launcher", ["stacked", "processes", "basic"])
def test_what_runs_say_stands_on_lines_of_its_own(tiny, tmp_path, launcher):
    drawn = on_terminal(
        80, 24, TRAIN, "-m", *tiny, f"hydra/launcher={launcher}", "loss=mse,cross_entropy",
        "optimizer.weight_decay=0,-1", "name=sweep", folder=tmp_path,
    )  # fmt: skip
    lines = seen(drawn)
    assert drawn.count(console.ERASE) > 1
    ended = [line for line in lines if line.startswith("[")]
    assert sorted(line[:5] for line in ended) == ["[1/4]", "[3/4]"], lines
    assert all(" val " in line and " test " in line and line[-2:] == " s" for line in ended)
    assert "\x1b[31mloss=mse,lr=0.1,seed=0" in drawn
    assert not [line for line in lines if "starting" in line or ", epoch " in line]
    assert any(line.endswith("comparison.html") for line in lines)


def test_runs_that_fail_elsewhere_are_told_once_each_and_what_is_alike_once(tmp_path):
    failures = Failures()
    old = RunStatus("lr=9", "failed", problem="lr=9: no luck", latest_start=1.0)
    assert failures.new([old, RunStatus("lr=1", "running")]) == ["lr=9: failed: lr=9: no luck"]
    assert failures.new([old]) == []
    alike = RunStatus("lr=8", "failed", problem="lr=8: no luck", latest_start=2.0)
    other = RunStatus("lr=7", "failed", problem="another reason", latest_start=2.0)
    assert failures.new([old, alike, other]) == ["lr=7: failed: another reason"]
