"""One name of the program in all that is printed, and commands that shells take as they are."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from runlab import program
from tests.commands import ROOT

AWKWARD = ["model.widths=[8,4]", "name=größe $HOME", "=a", "~/x", "it's", "callback.it='a,b'", ""]


@pytest.mark.parametrize("shell", ["bash", pytest.param("zsh", marks=pytest.mark.zsh)])
def test_a_shell_takes_a_command_as_it_is(shell: str):
    where = shutil.which(shell)
    assert where is not None
    script = program.command(*AWKWARD).replace("losslab", "printf '%s\\n'", 1)
    done = subprocess.run([where, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:-1] == AWKWARD


def test_the_front_declares_the_name_and_the_engine_has_one_of_its_own(monkeypatch):
    assert program.command("compare", "logs/a b") == "losslab compare 'logs/a b'"
    monkeypatch.delenv(program.VARIABLE)
    assert program.name() == "runlab"


def test_no_sentence_names_a_script():
    files = [*(ROOT / "src").rglob("*.py"), *(ROOT / "conf").rglob("*.yaml")]
    assert [each for each in files if re.search(r"scripts/\w+\.py", Path(each).read_text())] == []
