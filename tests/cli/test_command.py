"""`losslab`: one table of commands, each of which can be called by its name or as a script."""

import io
import sys
from contextlib import suppress
from itertools import chain
from pkgutil import resolve_name

import lightning
import pytest
import torch

import runlab
from losslab.__main__ import COMMANDS, CONF, main
from runlab.cli.help import first_comment, groups_of
from tests.compose import ROOT

EVERY = list(chain.from_iterable(COMMANDS.values()))


def test_each_command_has_a_script_and_no_script_is_without_command():
    scripts = {path.stem for path in (ROOT / "scripts").glob("*.py")}
    assert scripts == {each.name.replace("-", "_") for each in EVERY} - {"completion"}


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


@pytest.mark.parametrize("command", EVERY, ids=lambda each: each.name)
def test_help_is_short_has_examples_and_fits_80_columns(command, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    with suppress(SystemExit):  # argparse's
        main([command.name, "--help"])
    shown = capsys.readouterr().out
    assert shown.startswith(f"usage: losslab {command.name}")
    assert "examples:\n  losslab" in shown
    assert len(shown.splitlines()) < 40
    assert max(map(len, shown.splitlines())) <= 80
    assert ("groups, each" in shown) == (command.name in ("train", "evaluate", "benchmark"))


def test_help_lists_the_choices_of_a_group_that_applies(capsys):
    main(["train", "--help", "loss"])
    assert "  huber            Regression: " in capsys.readouterr().out
    with pytest.raises(SystemExit, match="expected a group after --help, one of trainer, got loss"):
        main(["evaluate", "--help", "loss"])


def test_help_of_a_command_is_asked_for_in_both_ways(capsys):
    main(["predict", "--help"])
    shown = capsys.readouterr().out
    main(["help", "predict"])
    assert capsys.readouterr().out == shown
    with pytest.raises(SystemExit, match="got images: it has no groups"):
        main(["predict", "--help", "images"])


def test_the_overview_can_be_printed_in_ascii(monkeypatch):
    out = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", out)
    main([])


def test_each_choice_of_a_group_is_explained():
    files = [path for group in groups_of(CONF, "train") for path in (CONF / group).glob("*.yaml")]
    assert len(files) > 50
    assert [path for path in files if not first_comment(path)] == []


@pytest.mark.parametrize("arguments", [[], ["train"], ["status"]])
def test_version_names_ours_and_those_that_results_depend_on(arguments, capsys):
    main([*arguments, "--version"])
    shown = capsys.readouterr().out
    assert shown.startswith(
        f"losslab {runlab.__version__} (torch {torch.__version__.split('+')[0]}"
    )
    assert f"lightning {lightning.__version__}" in shown


def test_overrides_may_stand_on_both_sides_of_a_flag(capsys):
    with pytest.raises(SystemExit, match="unknown choice loss=nope"):
        main(["train", "seed=0,1", "-m", "loss=nope"])
    assert capsys.readouterr().err == ""
