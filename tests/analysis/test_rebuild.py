"""A comparison written by one process at a time, then given to the outputs that its runs name."""

import os
import runpy
import sys
import threading
from pathlib import Path

import pytest
from filelock import FileLock, Timeout

from runlab import configurable
from runlab.analysis.comparison import Comparison
from runlab.analysis.rebuild import LOCK, comparison_lock, rebuild
from runlab.cli import main
from runlab.config.messages import user_message
from runlab.runs import lock
from tests.analysis.synthetic import write_run
from tests.compose import ROOT

COMPARE = str(ROOT / "scripts" / "compare.py")
HERE = "tests.analysis.test_rebuild"
calls: list[tuple[str, Comparison]] = []


@pytest.fixture(autouse=True)
def _no_figures_and_no_calls(monkeypatch):
    """Figures take most of the time, and here nobody looks at them."""
    monkeypatch.setattr("runlab.analysis.write.draw_figures", lambda comparison, sections: {})
    calls.clear()


@configurable
def note(comparison: Comparison) -> None:
    assert (comparison.folder / "comparison.md").exists()
    calls.append(("note", comparison))


@configurable
def fail(comparison: Comparison) -> None:
    calls.append(("fail", comparison))
    raise ValueError("expected something else")


@configurable
def break_down(comparison: Comparison) -> None:
    calls.append(("break_down", comparison))
    raise RuntimeError("out of\norder")


@configurable
def demand(comparison: Comparison, more: int) -> None:
    raise AssertionError("called")


@configurable
def make() -> None:
    raise AssertionError("called")


def show(comparison: Comparison) -> None:
    calls.append(("show", comparison))


def write_naming(sweep: Path, *outputs: str, seed: int = 0) -> Path:
    """A run that names these outputs."""
    return write_run(sweep, "mse", 0.1, seed, comparison={"outputs": list(outputs)})


def called() -> list[str]:
    return [name for name, _ in calls]


def test_records_are_read_when_nobody_else_writes_the_comparison(tmp_path):
    sweep = tmp_path / "first"
    write_run(sweep, "mse", 0.1, 0)
    found = []
    thread = threading.Thread(target=lambda: found.append(rebuild(sweep)))
    with FileLock(sweep / LOCK):
        thread.start()
        thread.join(0.5)
        assert not found
        write_run(sweep, "mse", 0.1, 1)
    thread.join(60)
    assert len(found[0].runs) == 2


def test_whoever_waits_says_for_whom_and_gives_up_in_the_end(tmp_path, caplog, monkeypatch):
    write_run(tmp_path, "mse", 0.1, 0)
    monkeypatch.setattr(lock, "PATIENCE", 0.1)
    with lock.take_turns(tmp_path / LOCK, "write", limit=1):
        with pytest.raises(TimeoutError) as raised, comparison_lock(tmp_path, limit=0.3):
            pass
        assert not (tmp_path / "comparison").exists()
    process = f"process {os.getpid()}"
    assert f"waiting for {process} to write the comparison" in caplog.text
    sentence = user_message(raised.value)
    assert f"{LOCK}: {process} has held it for" in sentence
    assert rebuild(tmp_path).folder.exists()
    assert [path.name for path in tmp_path.glob("*.pid")] == []


def test_a_reader_that_does_not_read_keeps_nobody_waiting(tmp_path):
    write_run(tmp_path, "mse", 0.1, 0)
    free: list[bool] = []
    rebuild(tmp_path, show=lambda comparison: free.append(takes(tmp_path / LOCK)))
    assert free == [True]


def takes(path: Path) -> bool:
    try:
        with FileLock(path, blocking=False):
            return True
    except Timeout:
        return False


def test_what_is_no_sweep_gets_no_lock(tmp_path):
    with pytest.raises(ValueError, match="expected the folder of a sweep"):
        rebuild(tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_a_sweep_that_cannot_be_locked_is_one_sentence(tmp_path):
    write_run(tmp_path / "first", "mse", 0.1, 0)
    (tmp_path / "first" / LOCK).mkdir()
    with pytest.raises(ValueError, match=r"expected to write the comparison into .*first, got: "):
        rebuild(tmp_path / "first")


def test_the_comparison_is_shown_once_its_outputs_are_written(tmp_path):
    write_naming(tmp_path, f"{HERE}.note")
    comparison = rebuild(tmp_path, show=show)
    assert [name for name, _ in calls] == ["note", "show"]
    assert all(each is comparison for _, each in calls)


def test_an_output_that_several_name_is_called_once(tmp_path):
    write_naming(tmp_path, f"{HERE}.note")
    write_naming(tmp_path, f"{HERE}.note", seed=1)
    rebuild(tmp_path, outputs=[note])
    assert called() == ["note"]


def test_a_comparison_by_another_measure_has_no_outputs(tmp_path):
    write_naming(tmp_path, f"{HERE}.note", f"{HERE}.nothing")
    assert not [each for each in rebuild(tmp_path, "nll").warnings if "output" in each]
    assert called() == []


@pytest.mark.long
@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("runlab.extras.nowhere.write", "cannot import comparison.outputs=runlab.extras.nowhere"),
        (f"{HERE}.nothing", "cannot import comparison.outputs=tests.analysis.test_rebuild.nothing"),
        ("", "expected comparison.outputs as a dotted name, package.module.Name, got ''"),
        (f"{HERE}.calls", "expected comparison.outputs to name a function that is @configurable"),
        (f"{HERE}.show", "expected comparison.outputs to name a function that is @configurable"),
        ("builtins.print", "expected comparison.outputs to name a function that is @configurable"),
        ("torchvision.models.resnet18", "expected comparison.outputs to name a function that is @"),
        ("torch.nn.functional.relu", "expected comparison.outputs to name a function that is @con"),
        ("torch.tensor", "expected comparison.outputs to name a function that is @configurable"),
        ("datetime.timedelta", "expected comparison.outputs to name a function that is @configur"),
        (f"{HERE}.demand", "expected it to take a comparison alone, got TypeError: missing a requ"),
        (f"{HERE}.make", "expected it to take a comparison alone, got TypeError: too many positio"),
    ],
)
def test_an_output_that_is_there_no_more_is_a_warning_and_the_others_are_made(
    tmp_path, name, reason
):
    write_naming(tmp_path, name, f"{HERE}.note")
    comparison = rebuild(tmp_path)
    [warning] = [each for each in comparison.warnings if "is left out" in each]
    assert f"the output {name} is left out: {reason}" in warning
    assert warning in (tmp_path / "comparison" / "comparison.md").read_text()
    assert called() == ["note"]


def test_an_output_that_fails_hides_neither_the_comparison_nor_other_outputs(tmp_path):
    write_naming(tmp_path, f"{HERE}.fail", f"{HERE}.note")
    with pytest.raises(ValueError, match=r"^expected something else$"):
        rebuild(tmp_path, show=show)
    assert called() == ["fail", "note", "show"]
    with pytest.raises(ValueError, match=r"^(expected something else\n?){2}$"):
        rebuild(tmp_path, outputs=[lambda comparison: fail(comparison)])


def test_an_output_that_breaks_down_is_told_by_its_name_and_the_others_are_made(tmp_path):
    write_naming(tmp_path, f"{HERE}.break_down", f"{HERE}.note")
    told = rf"^the output {HERE}\.break_down failed: RuntimeError: out of order$"
    with pytest.raises(ValueError, match=told):
        rebuild(tmp_path, show=show)
    assert called() == ["break_down", "note", "show"]


def test_a_bug_in_what_the_caller_gives_is_not_taken_for_a_records(tmp_path):
    write_naming(tmp_path)
    with pytest.raises(RuntimeError, match="out of"):
        rebuild(tmp_path, outputs=[break_down])


def test_an_output_that_fails_does_not_hide_the_sweeps_conclusion(tmp_path, capsys):
    write_naming(tmp_path, f"{HERE}.fail")
    assert main.conclude(tmp_path) == ["expected something else"]
    assert str(tmp_path / "comparison" / "comparison.html") in capsys.readouterr().out


def test_nor_does_it_hide_the_comparison_of_the_script(tmp_path, monkeypatch, capsys):
    write_naming(tmp_path, f"{HERE}.fail")
    monkeypatch.setattr(sys, "argv", [COMPARE, str(tmp_path)])
    with pytest.raises(SystemExit) as stop:
        runpy.run_path(COMPARE, run_name="__main__")
    assert stop.value.code == "expected something else"  # Python prints it and exits with 1
    assert str(tmp_path / "comparison" / "comparison.html") in capsys.readouterr().out


def test_the_script_compares_by_another_measure(tmp_path, monkeypatch, capsys):
    write_naming(tmp_path)
    monkeypatch.setattr(sys, "argv", [COMPARE, str(tmp_path), "--metric", "nll", "--margin", "0.1"])
    runpy.run_path(COMPARE, run_name="__main__")
    assert str(tmp_path / "comparison_nll" / "comparison.html") in capsys.readouterr().out
    monkeypatch.setattr(sys, "argv", [COMPARE, str(tmp_path), "--metric", "speed"])
    with pytest.raises(SystemExit, match="got speed: name one that all declare alike by --metric"):
        runpy.run_path(COMPARE, run_name="__main__")
