"""A command of a command line: its name, what it does, and where its code is."""

import argparse
import pkgutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from runlab.cli import loading


@dataclass(frozen=True)
class Command:
    """One command; its code is imported when it is called, as torch takes seconds.

    Attributes:
        summary: what it does, in one line.
        code: a module that has `add_arguments(parser)` and `run(arguments)`, or, of a command that
            Hydra configures, `module:function` of its task.
        config: of such a command, the name of its file in the folder of configurations.
        schema: a module to import before, which says what keys that file may have.
        paths: its keys whose values may hold what Hydra's grammar reserves, as runs' names do.
    """

    name: str
    summary: str
    code: str
    config: str | None = None
    schema: str | None = None
    paths: Sequence[str] = ("data_dir",)


def run_command(
    program: str, commands: Mapping[str, Sequence[Command]], conf: Path, arguments: Sequence[str]
) -> None:
    """Runs the command that the first argument names; without one, lists them.

    Args:
        commands: by the headings under which they are listed.
        conf: the folder of configurations.
    """
    loading.program = program
    by_name = {each.name: each for group in commands.values() for each in group}
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(overview(program, commands))
        return
    name, *others = arguments
    if name not in by_name:
        sys.exit(unknown_command(program, name, list(by_name)))
    command = by_name[name]
    if command.config is None:
        run_plain(f"{program} {name}", command, others)
    else:
        run_configured(f"{program} {name}", command, conf, others)


def run_plain(program: str, command: Command, arguments: Sequence[str]) -> None:
    from runlab.cli.script import script

    with script():
        code = import_module(command.code)
        parser = argparse.ArgumentParser(prog=program, description=code.__doc__)
        code.add_arguments(parser)
        code.run(parser.parse_args(arguments))


def run_configured(program: str, command: Command, conf: Path, arguments: Sequence[str]) -> None:
    from runlab.cli.main import main

    assert command.config is not None
    sys.argv = [program, *arguments]
    if command.schema is not None:
        import_module(command.schema)
    main(task_at(command.code), command.config, conf, command.paths)


def task_at(place: str) -> Callable[[Any], Any]:
    """The function `module:name`, imported when it is called."""

    def task(cfg: Any) -> Any:
        return pkgutil.resolve_name(place)(cfg)

    return task


def overview(program: str, commands: Mapping[str, Sequence[Command]]) -> str:
    """All commands under their headings, a line each."""
    length = max(len(each.name) for group in commands.values() for each in group)
    lines = [f"usage: {program} COMMAND …"]
    for heading, group in commands.items():
        if group:
            lines += ["", f"{heading}:"]
            lines += [f"  {each.name:{length}}  {each.summary}" for each in group]
    return "\n".join([*lines, "", f"{program} COMMAND --help says more of one."])


def unknown_command(program: str, name: str, known: Sequence[str]) -> str:
    import difflib

    from runlab.text import printable

    nearest = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {program} {nearest[0]}? " if nearest else ""
    return printable(f"unknown command {name}; {hint}{program} --help lists them")
