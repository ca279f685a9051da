"""Ctrl-C: answered at once, without a traceback, and a second time by an end at once."""

import signal
import subprocess
import sys
import time

import pytest

from runlab.cli.interrupt import answered
from runlab.cli.main import interrupted
from runlab.sweeps.callback import SweepCallback
from tests.compose import ROOT

STUBBORN = """
import sys, time
sys.path.insert(0, sys.argv[1])
from runlab.cli.interrupt import answered

with answered(lambda: "stopping, saving …"):
    while True:
        try:
            print("ready", flush=True)
            time.sleep(60)
        except KeyboardInterrupt:
            pass
"""


def started(*arguments: str, folder) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, *arguments], cwd=folder, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={"PYTHONPATH": str(ROOT / "src")},
    )  # fmt: skip


def test_a_signal_is_told_of_once_and_stops_as_before(capfd):
    with pytest.raises(KeyboardInterrupt), answered(lambda: "stopping, saving …"):
        signal.raise_signal(signal.SIGINT)
    assert capfd.readouterr().err == "stopping, saving …\n"


def test_another_signal_than_a_request_to_end_is_not(capfd):
    before = signal.signal(signal.SIGWINCH, lambda number, frame: None)
    with answered(lambda: "stopping, saving …"):
        signal.raise_signal(signal.SIGWINCH)
    signal.signal(signal.SIGWINCH, before)
    assert capfd.readouterr().err == ""


def test_a_second_ctrl_c_ends_what_does_not_stop(tmp_path):
    with started("-c", STUBBORN, str(ROOT / "src"), folder=tmp_path) as process:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGINT)  # the same one, passed on
        assert process.stderr.readline() == "stopping, saving …\n"
        time.sleep(0.7)
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=10) == 130
        assert process.stderr.read() == ""


def test_a_command_gives_a_sign_of_life_and_ctrl_c_ends_it_while_torch_is_imported(tmp_path):
    with started("-m", "losslab", "train", folder=tmp_path) as process:
        assert process.stderr.readline() == "losslab: loading PyTorch …\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=10) == -signal.SIGINT
        assert (process.stdout.read(), process.stderr.read()) == ("", "")
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_command_that_replaces_runs_is_not_said_to_go_on(monkeypatch):
    monkeypatch.setattr(SweepCallback, "has_begun", True)
    monkeypatch.setattr(SweepCallback, "folder", None)
    assert interrupted() == "interrupted: the same command goes on with what is left"
    monkeypatch.setattr(SweepCallback, "overwrites", True)
    assert "with overwrite=true the same command starts all over" in interrupted()
