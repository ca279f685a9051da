"""Have bash or zsh complete commands, options, groups, their choices and keys."""

import argparse
import os
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import argcomplete

from runlab import program

SHELLS = ("bash", "zsh")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = (
        f'Once: put eval "$({program.name()} completion bash)" into ~/.bashrc, or the same with '
        "zsh into ~/.zshrc, behind compinit."
    )
    parser.add_argument("shell", choices=SHELLS)


def run(arguments: argparse.Namespace) -> None:
    """Prints what the shell is to run."""
    print(argcomplete.shellcode([program.name()], shell=arguments.shell))


class Overrides:
    """What Hydra would put after the last argument: groups, their choices, keys."""

    def __init__(self, conf: Path, config: str) -> None:
        self.conf, self.config = conf, config

    def __call__(self, prefix: str, parsed_args: argparse.Namespace, **kwargs: Any) -> list[str]:
        from hydra import initialize_config_dir
        from hydra.core.global_hydra import GlobalHydra
        from hydra.plugins.completion_plugin import DefaultCompletionPlugin

        given = [each for each in parsed_args.overrides or [] if each != prefix]
        with initialize_config_dir(str(self.conf), version_base="1.3"):
            plugin = DefaultCompletionPlugin(GlobalHydra.instance().config_loader())
            return plugin._query(self.config, " ".join([*given, prefix]))


def complete(commands: Mapping[str, Sequence[Any]], conf: Path) -> None:
    """Answers the shell's question, which is in the environment, and ends the process."""
    typed = os.environ.get("COMP_LINE", "").split()[1:2]
    parser = argparse.ArgumentParser()
    parsers = parser.add_subparsers()
    for command in (each for group in commands.values() for each in group):
        own = parsers.add_parser(command.name, add_help=command.config is None)
        if [command.name] == typed:
            describe(own, command, conf)
    argcomplete.autocomplete(parser)


def describe(parser: argparse.ArgumentParser, command: Any, conf: Path) -> None:
    """Adds what the command takes."""
    module = import_module(command.code.partition(":")[0])  # which registers its schema
    if command.config is None:
        module.add_arguments(parser)
        return
    from hydra._internal.utils import get_args_parser

    for action in get_args_parser()._actions:
        if action.dest == "overrides":
            action.completer = Overrides(conf, command.config)  # type: ignore[attr-defined]
        parser._add_action(action)
