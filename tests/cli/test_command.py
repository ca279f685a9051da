"""`losslab`: one table of commands, each of which can be called by its name or as a script."""

from itertools import chain
from pkgutil import resolve_name

import pytest

from losslab.__main__ import COMMANDS, CONF, main
from tests.compose import ROOT

EVERY = list(chain.from_iterable(COMMANDS.values()))


def test_each_command_has_a_script_and_no_script_is_without_command():
    scripts = {path.stem for path in (ROOT / "scripts").glob("*.py")}
    assert scripts == {each.name.replace("-", "_") for each in EVERY}


@pytest.mark.parametrize("command", EVERY, ids=lambda each: each.name)
def test_each_command_has_its_code_and_a_summary_of_one_line(command):
    found = resolve_name(command.code)
    if command.config is None:
        assert callable(found.add_arguments)
        assert callable(found.run)
    else:
        assert callable(found)
        assert (CONF / f"{command.config}.yaml").exists()
    assert len(f"  {'same-numbers'}  {command.summary}") <= 80


def test_losslab_alone_lists_its_commands(capsys):
    main([])
    alone = capsys.readouterr().out
    main(["--help"])
    assert capsys.readouterr().out == alone
    assert all(f"\n  {each.name} " in alone for each in EVERY)


def test_an_unknown_command_is_told_with_the_nearest_one():
    with pytest.raises(SystemExit, match=r"^unknown command stauts; did you mean losslab status\?"):
        main(["stauts"])
