"""What is said where a run has ended: commands that can be pasted."""

import shlex
import subprocess

import pytest

from runlab.runs.next_steps import next_steps


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Of a name that shells would read otherwise, under the working directory."""
    folder = tmp_path / "logs" / "train" / "widths=[8,4] $HOME"
    (folder / "checkpoints").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    return folder


def test_commands_are_those_that_the_runs_files_serve(run):
    assert next_steps(run) == ["  it lies in logs/train/widths=[8,4] $HOME"]
    (run / "events.out.tfevents.1").touch()
    (run / "checkpoints" / "best.ckpt").touch()
    assert next_steps(run) == [
        "  curves: tensorboard --logdir 'logs/train/widths=[8,4] $HOME'",
        "  test it again: losslab evaluate "
        "'checkpoint=logs/train/widths=[8,4] $HOME/checkpoints/best.ckpt'",
    ]


def test_a_shell_reads_them_as_they_are_meant(run):
    (run / "events.out.tfevents.1").touch()
    [line] = next_steps(run)
    command = line.partition(": ")[2]
    assert shlex.split(command)[-1] == "logs/train/widths=[8,4] $HOME"
    shown = subprocess.run(
        ["bash", "-c", f"printf %s {command.partition('--logdir ')[2]}"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert shown.stdout == "logs/train/widths=[8,4] $HOME"
