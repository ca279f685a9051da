"""What is answered before torch is imported, which takes seconds."""

import json
import subprocess
import sys

import pytest

from tests.compose import ROOT

FORKS = """
import contextlib, io, json, os, sys

sys.path.insert(0, sys.argv[1])
import hydra, yaml
from losslab.__main__ import main


def run(arguments, writer):
    printed, loaded = io.StringIO(), sys.modules
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        try:
            main(arguments)
            code = 0
        except SystemExit as stop:
            code = stop.code
    told = code if isinstance(code, str) else ""
    json.dump([told + printed.getvalue(), code not in (0, None), "torch" in loaded], writer)


for arguments in json.loads(sys.argv[2]):
    reader, writer = os.pipe()
    if os.fork() == 0:
        with os.fdopen(writer, "w") as file:
            run(arguments, file)
        os._exit(0)
    os.close(writer)
    os.wait()
    print(os.fdopen(reader).read())
"""

CHECKPOINT = "checkpoint=nowhere"
REFUSED = {
    "stauts": "did you mean losslab status?",
    "train optimzer.lr=1": "did you mean optimizer?",
    "train loss=mze": "unknown choice loss=mze; did you mean mse?",
    "train optimizer.lr=0.1,,": "expected another value after the comma of optimizer.lr=0.1,,",
    "train -m seed=0,,1": "cannot read seed=0,,1",
    "train --epochs 3": "unrecognized arguments: --epochs",
    "predict": "expected checkpoint=…, got none",
    "predict checkpoint=nowhere images=a.png": "expected a checkpoint at nowhere",
    "evaluate checkpoint=nowhere": "expected a checkpoint at nowhere",
    "status": "the following arguments are required: sweep",
    **{
        f"{name} nowhere": "expected the folder of a sweep, got"
        for name in ("status", "compare", "dashboard", "landscape")
    },
    "same-numbers nowhere nowhere": "expected the folder of a sweep, got nowhere",
    "reproduce nowhere": "expected a run record at nowhere/run.json",
    "benchmark foo=1": "unknown key foo",
}
SHOWN = {
    "": "usage: losslab",
    "--version": "losslab 0",
    **{f"{name} --help": f"usage: losslab {name}" for name in ("train", "predict", "compare")},
    "train --help loss": "cross_entropy",
    "train --version": "losslab 0",
    "train --hydra-help": "Hydra",
    "train --cfg job": "optimizer:",
    "train --info searchpath": "conf",
}


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    """By command: what it says, whether it failed, whether torch was imported."""
    commands = [*REFUSED, *SHOWN]
    given = json.dumps([each.split() for each in commands])
    done = subprocess.run(
        [sys.executable, "-c", FORKS, str(ROOT / "src"), given],
        cwd=tmp_path_factory.mktemp("empty"), capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return dict(zip(commands, map(json.loads, done.stdout.splitlines()), strict=True))


@pytest.mark.parametrize("command", REFUSED)
def test_a_mistake_in_arguments_is_told_before_torch_is_imported(answers, command):
    said, failed, has_torch = answers[command]
    assert REFUSED[command] in said
    assert (failed, has_torch) == (True, False)


@pytest.mark.parametrize("command", SHOWN)
def test_what_is_asked_of_the_command_line_is_shown_without_torch(answers, command):
    said, failed, has_torch = answers[command]
    assert SHOWN[command] in said
    assert (failed, has_torch) == (False, False)
