"""What a shell is offered behind `losslab`, as argcomplete asks for it."""

import os
import re
import subprocess
import sys

import pytest

from losslab.__main__ import main
from tests.compose import ROOT

OFFERED = {
    "losslab st": {"status"},
    "losslab train loss=mse_": {"loss=mse_logits"},
    "losslab train -m loss=mse optimizer.l": {"optimizer.lr="},
    "losslab compare logs --ma": {"--margin"},
}


@pytest.mark.parametrize("line", OFFERED)
def test_commands_options_choices_and_keys_are_offered_without_torch(line, tmp_path):
    answer = tmp_path / "answer"
    asked = {"_ARGCOMPLETE": "1", "COMP_LINE": line, "COMP_POINT": str(len(line))}
    place = {"PYTHONPATH": str(ROOT / "src"), "_ARGCOMPLETE_STDOUT_FILENAME": str(answer)}
    command = [sys.executable, "-X", "importtime", "-m", "losslab"]
    done = subprocess.run(command, env=os.environ | asked | place, capture_output=True, text=True)
    offered = {each.strip() for each in answer.read_text().split("\013")}
    assert offered == OFFERED[line], done.stderr[-2000:]
    assert re.search(r"\| +argparse$", done.stderr, re.MULTILINE)
    assert not re.search(r"\| +torch$", done.stderr, re.MULTILINE)


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_a_shell_gets_what_it_is_to_run(shell, capsys):
    main(["completion", shell])
    assert "_python_argcomplete" in capsys.readouterr().out
