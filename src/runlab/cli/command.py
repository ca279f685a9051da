"""A command of a command line: its name, what it does, and where its code is."""

import argparse
import functools
import os
import pkgutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import NoReturn

from runlab.cli import loading
from runlab.program import name as program_name


@dataclass(frozen=True)
class Command:
    """One command; its code is imported when it is called, and imports torch when it runs.

    Attributes:
        summary: what it does, in one line.
        code: a module that has `add_arguments(parser)` and `run(arguments)`, or, of a command that
            Hydra configures, `module:function` of its task.
        examples: arguments, as they are typed.
        config: of such a command, the name of its file in the folder of configurations.
        paths: its keys whose values may hold what Hydra's grammar reserves, as runs' names do.
    """

    name: str
    summary: str
    code: str
    examples: Sequence[str]
    config: str | None = None
    paths: Sequence[str] = ("data_dir",)


def run_command(
    commands: Mapping[str, Sequence[Command]], conf: Path, arguments: Sequence[str]
) -> None:
    """Runs the command that the first argument names; without one, lists them.

    Args:
        commands: by the headings under which they are listed.
        conf: the folder of configurations.
    """
    program = program_name()
    if "_ARGCOMPLETE" in os.environ:
        from runlab.cli.completion import complete

        complete(commands, conf)
    by_name = {each.name: each for group in commands.values() for each in group}
    if list(arguments[:1]) == ["help"] and len(arguments) == 2:
        arguments = [arguments[1], "--help"]
    if not arguments or arguments[0] in ("-h", "--help", "help") or "--version" in arguments:
        from runlab.cli.help import version
        from runlab.cli.script import script

        with script():
            print(version(program) if "--version" in arguments else overview(program, commands))
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
    with loading.ended_by_ctrl_c():
        from runlab.cli.help import examples, filled
        from runlab.cli.script import script

        code = import_module(command.code)
    with script():
        parser = argparse.ArgumentParser(
            prog=program,
            description=filled(code.__doc__ or ""),
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        parser.error = functools.partial(refuse, program)  # type: ignore[method-assign]
        code.add_arguments(parser)
        shown = "\n".join(examples(program, command.examples))
        parser.epilog = f"{shown}\n\n{filled(parser.epilog)}" if parser.epilog else shown
        code.run(parser.parse_args(arguments))


def run_configured(program: str, command: Command, conf: Path, arguments: Sequence[str]) -> None:
    """Hydra's own help would list every group and key, and takes a second to find them."""
    assert command.config is not None
    wanted = [each for each in arguments if not each.startswith("-")]
    if "--help" in arguments or "-h" in arguments:
        from runlab.cli.help import of_configured, of_group
        from runlab.cli.script import script

        with script():
            if wanted:
                print(of_group(program, wanted[0].partition("=")[0], conf, command.config))
            else:
                print(
                    of_configured(program, command.summary, command.examples, conf, command.config)
                )
        return
    try:
        os.getcwd()
    except FileNotFoundError:
        refuse(program, "expected a folder to work in, got one that was removed: cd to another")
    with loading.ended_by_ctrl_c():
        from hydra._internal.utils import get_args_parser

        from runlab.cli.main import main
        from runlab.config.arguments import flags_first

        task = pkgutil.resolve_name(command.code)
    parser = get_args_parser()
    parser.error = functools.partial(refuse, program)  # type: ignore[method-assign]
    wants_sweep = (
        parser.parse_args(flags_first(arguments)).multirun or "hydra.mode=MULTIRUN" in arguments
    )
    if wants_sweep and not any(each.startswith("-m ") for each in command.examples):
        refuse(program, "expected one value of each key, got a sweep: leave -m out")
    # Lightning starts the other processes of trainer.strategy=ddp by this
    sys.argv = [str(conf.parent / "scripts" / f"{command.name}.py"), *arguments]
    main(task, command.config, conf, command.paths)


def refuse(program: str, message: str) -> NoReturn:
    """Ends the process with one sentence about its arguments, without the usage above it."""
    from runlab import console
    from runlab.text import printable

    print(console.failure(printable(f"{message}; {program} --help says more")), file=sys.stderr)
    sys.exit(2)


def overview(program: str, commands: Mapping[str, Sequence[Command]]) -> str:
    """All commands under their headings, a line each, and how the first ones are called."""
    length = max(len(each.name) for group in commands.values() for each in group)
    lines = [f"usage: {program} COMMAND …"]
    for heading, group in commands.items():
        if group:
            lines += ["", f"{heading}:"]
            lines += [f"  {each.name:{length}}  {each.summary}" for each in group]
    named = [f"{each.name} {each.examples[-1]}" for group in commands.values() for each in group]
    return "\n".join(
        [
            *(*lines, "", "examples:", *(f"  {program} {each}" for each in named[:3]), ""),
            f"{program} COMMAND --help says more of one, {program} --version of the packages.",
            "data/ and logs/ are those of the folder where you are.",
        ]
    )


def unknown_command(program: str, name: str, known: Sequence[str]) -> str:
    import difflib

    from runlab.text import printable

    nearest = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {program} {nearest[0]}? " if nearest else ""
    return printable(f"unknown command {name}; {hint}{program} --help lists them")
