"""What the command line is called, with which every command that a user is told begins."""

import os
import shlex

VARIABLE = "RUNLAB_PROGRAM"
"""In the environment, so that the processes which train for this one know it too."""


def declare(name: str) -> None:
    """Called once by the package in front, when it is imported."""
    os.environ[VARIABLE] = name


def name() -> str:
    return os.environ.get(VARIABLE, "runlab")


def command(*words: str) -> str:
    """The program with these words, to paste into bash or zsh."""
    return " ".join([name(), *map(quoted, words)])


def quoted(word: str) -> str:
    """For bash and zsh; what is quoted for Hydra already gets the other quotes."""
    if "'" in word and not set(word) & set('"$`!\\'):
        return f'"{word}"'
    # `=` begins a path in zsh, and shlex leaves it
    return f"'{word}'" if word.startswith("=") and "'" not in word else shlex.quote(word)
