"""The end of a sweep, and scripts/compare.py, write the aggregates of runs that name them."""

import os
import runpy
import sys
from pathlib import Path

import pytest

from runlab.analysis.rebuild import rebuild, usable
from runlab.analysis.section import load_named
from runlab.cli import main
from runlab.extras.dashboard import dashboard
from runlab.extras.dashboard.aggregates import aggregates_folder, write_aggregates
from runlab.extras.dashboard.dashboard import SweepWatcher
from tests.analysis.synthetic import write_run
from tests.compose import ROOT, compose

COMPARE = str(ROOT / "scripts" / "compare.py")
OUTPUTS = {"outputs": ["runlab.extras.dashboard.aggregates.write_aggregates"]}

pytestmark = pytest.mark.usefixtures("_no_figures")


@pytest.fixture
def blocked(tmp_path) -> Path:
    """A sweep whose aggregates have no place."""
    write_run(tmp_path / "first", "mse", 0.1, 0, comparison=OUTPUTS)
    (tmp_path / "first.aggregates").write_text("in the way")
    return tmp_path / "first"


def test_the_configuration_names_them():
    assert load_named("output", compose().comparison.outputs, usable) == ([write_aggregates], [])


def test_aggregates_in_trouble_do_not_hide_the_sweeps_conclusion(blocked, capsys):
    [problem] = main.conclude(blocked)
    assert "expected to write the aggregates into" in problem
    assert str(blocked / "comparison" / "comparison.html") in capsys.readouterr().out


def test_aggregates_in_trouble_do_not_hide_the_comparison_of_the_script(
    blocked, monkeypatch, capsys
):
    monkeypatch.setattr(sys, "argv", [COMPARE, str(blocked)])
    with pytest.raises(SystemExit) as stop:
        runpy.run_path(COMPARE, run_name="__main__")
    sentence = str(stop.value.code)  # Python prints it to stderr and exits with 1
    assert str(blocked / "comparison" / "comparison.html") in capsys.readouterr().out
    assert sentence.startswith("expected to write the aggregates into")
    assert "\n" not in sentence


def test_a_watcher_knows_which_outcomes_its_aggregates_are_of(tmp_path, monkeypatch):
    sweep = tmp_path / "first"
    write_run(sweep, "mse", 0.1, 0, comparison=OUTPUTS)
    rebuild(sweep)
    built = []
    monkeypatch.setattr(dashboard, "rebuild", lambda sweep, **rest: built.append(sweep))
    SweepWatcher(sweep).refresh()
    assert not built
    late = write_run(sweep, "mse", 0.1, 1)
    os.utime(late / "run.json", (1e9, 1e9))  # recorded before them, but not in them
    SweepWatcher(sweep).refresh()
    assert built


def test_a_comparison_by_another_measure_leaves_them_as_they_are(tmp_path):
    sweep = tmp_path / "first"
    write_run(sweep, "mse", 0.1, 0, comparison=OUTPUTS)
    rebuild(sweep, "nll")
    assert (sweep / "comparison_nll" / "comparison.md").exists()
    assert not aggregates_folder(sweep).exists()
