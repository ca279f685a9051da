import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from filelock import FileLock

from runlab.cli import main
from runlab.extras.dashboard import rebuild
from runlab.extras.dashboard.dashboard import Board
from runlab.extras.dashboard.rebuild import LOCK
from tests.analysis.synthetic import write_run
from tests.compose import ROOT

COMPARE = str(ROOT / "scripts" / "compare.py")


@pytest.fixture
def blocked(tmp_path) -> Path:
    """A sweep whose aggregates have no place."""
    write_run(tmp_path / "first", "mse", 0.1, 0)
    (tmp_path / "first.aggregates").write_text("in the way")
    return tmp_path / "first"


def test_aggregates_in_trouble_do_not_hide_the_sweeps_conclusion(blocked, capsys):
    [problem] = main.conclude(blocked)
    assert "expected to write the aggregates into" in problem
    assert str(blocked / "comparison" / "comparison.html") in capsys.readouterr().out


def test_aggregates_in_trouble_do_not_hide_the_comparison_of_the_script(blocked):
    process = subprocess.run([sys.executable, COMPARE, blocked], capture_output=True, text=True)
    assert process.returncode == 1
    assert str(blocked / "comparison" / "comparison.html") in process.stdout
    assert process.stderr.startswith("expected to write the aggregates into")
    assert process.stderr.count("\n") == 1


def test_records_are_read_when_nobody_else_writes_the_comparison(tmp_path):
    sweep = tmp_path / "first"
    write_run(sweep, "mse", 0.1, 0)
    found = []
    thread = threading.Thread(target=lambda: found.append(rebuild(sweep)))
    with FileLock(sweep / LOCK):
        thread.start()
        thread.join(1)
        assert not found
        write_run(sweep, "mse", 0.1, 1)
    thread.join(60)
    assert len(found[0].runs) == 2


def test_a_board_knows_which_outcomes_its_aggregates_are_of(tmp_path, monkeypatch):
    sweep = tmp_path / "first"
    write_run(sweep, "mse", 0.1, 0)
    rebuild(sweep)
    late = write_run(sweep, "mse", 0.1, 1)
    os.utime(late / "run.json", (1e9, 1e9))  # recorded before them, but not in them
    built = []
    monkeypatch.setattr(Board, "_rebuild", lambda board: built.append(board) or "")
    Board(sweep).refresh()
    assert built


def test_what_is_no_sweep_gets_no_lock(tmp_path):
    with pytest.raises(ValueError, match="expected the folder of a sweep"):
        rebuild(tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_a_sweep_that_cannot_be_locked_is_one_sentence(tmp_path):
    write_run(tmp_path / "first", "mse", 0.1, 0)
    (tmp_path / "first" / LOCK).mkdir()
    with pytest.raises(ValueError, match=r"expected to write the comparison into .*first, got: "):
        rebuild(tmp_path / "first")
