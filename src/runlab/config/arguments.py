"""Arguments of a command line, as Hydra takes them: above all paths, with their `=` and `,`."""

import re
from collections.abc import Callable, Iterable
from pathlib import Path

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Quote, QuotedString
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf

TEXTS = ("name",)
"""Keys whose values are texts, though they look like numbers: `1e3` is no 1000.0 there."""

WORDS = re.compile(r"[\w.+\- ]*\w[\w.+\- ]*")
"""What needs no quotes in anyone's eyes; Hydra's grammar takes it in ASCII alone."""


def quoted(arguments: Iterable[str], keys: Iterable[str]) -> list[str]:
    """The arguments, with values quoted that Hydra would not take as they are.

    Those are all of these keys, words of other letters than ASCII's, and a name that looks like a
    number. `[a.png,b.jpg]` stays a list of paths; a value that the user quoted stays as it is.
    """
    beginnings = tuple(f"{key}=" for key in keys)
    return [
        quoted_argument(each) if each.startswith(beginnings) or is_text(each) else each
        for each in arguments
    ]


def is_text(argument: str) -> bool:
    """Whether its value is one word or several, which Hydra would refuse or take for a number."""
    key, sign, value = argument.partition("=")
    if not sign or not WORDS.fullmatch(value):
        return False
    return not value.isascii() or (key in TEXTS and not is_read_as_text(argument))


def is_read_as_text(argument: str) -> bool:
    try:
        return isinstance(OverridesParser.create().parse_override(argument).value(), str)
    except HydraException:
        return True  # which it says itself


def flags_first(arguments: Iterable[str]) -> list[str]:
    """The arguments, with the flags that take no value before the overrides.

    Of overrides on both sides of a flag Hydra's parser of arguments calls the second ones unknown.
    """
    arguments = list(arguments)
    return [
        *(each for each in arguments if each in ALONE),
        *(each for each in arguments if each not in ALONE),
    ]


ALONE = ("-m", "--multirun", "--help", "-h", "--version", "--hydra-help", "--resolve")


def quoted_argument(argument: str) -> str:
    key, _, value = argument.partition("=")
    if not value or "'" in value[:2] or '"' in value[:2]:
        return argument
    if value.startswith("[") and value.endswith("]"):
        items = [quoted_text(item.strip()) for item in value[1:-1].split(",")]
        return f"{key}=[{','.join(items)}]"
    return f"{key}={quoted_text(value)}"


def quoted_text(text: str) -> str:
    return QuotedString(text=text, quote=Quote.single).with_quotes()


def require_choices(arguments: Iterable[str], config_dir: Path) -> None:
    """Raises ValueError for a group whose choice is no name of a file, such as `logger=null`.

    And for what no command line may set.
    """
    for argument in arguments:
        group, sign, value = argument.partition("=")
        if argument.startswith("="):
            raise ValueError(f"expected key=value, got {argument}: write a key before the sign")
        if group.lstrip("+~").startswith("run."):
            raise ValueError(
                f"expected no {group}, which the command fills in by itself, got {argument}: give "
                "name=… for another sweep, hydra.run.dir=… for another folder"
            )
        folder = config_dir / group
        if sign and value in ("null", "") and group and folder.is_dir():
            choices = sorted(path.stem for path in folder.glob("*.yaml"))
            raise ValueError(
                f"expected {group}= one of {', '.join(choices)}, got {value or 'nothing'}: name one"
            )


def left_to_runs(arguments: Iterable[str], key: str) -> list[str]:
    """The arguments, with a fixed value left to each run where its group's choice is swept.

    Of `module=a,b module.lr=0.1` Hydra first composes the default module, which may have no `lr`.
    What is swept it leaves out there, and `module.lr=choice(0.1)` is a sweep of one value.

    Args:
        key: the one that Hydra found no place for, such as `module.lr`.
    """
    arguments, group = list(arguments), key.partition(".")[0]
    if not any(each.startswith(f"{group}=") and is_sweep(each) for each in arguments):
        return arguments
    return [swept_alone(a) if a.startswith(f"{group}.") else a for a in arguments]


def swept_alone(argument: str) -> str:
    key, _, value = argument.partition("=")
    alone = f"{key}=choice({value})"
    try:
        return argument if is_sweep(argument) or not is_sweep(alone) else alone
    except HydraException:  # of one that has no such form, as null has none
        return argument


def is_sweep(override: str) -> bool:
    return OverridesParser.create().parse_override(override).is_sweep_override()


def given(cfg: DictConfig, key: str, example: str) -> str | list[str]:
    """The value of a key that has no default.

    Raises:
        ValueError: if the user gave none.
    """
    if OmegaConf.is_missing(cfg, key) or cfg[key] in (None, "", []):
        raise ValueError(f"expected {key}=…, got none: give {example}")
    value = OmegaConf.to_container(cfg)[key]  # type: ignore[index, call-overload]
    return [str(item) for item in value] if isinstance(value, list) else str(value)


Reason = Callable[[Path], str]
"""Goes on after `got no such file`; empty where nothing is known."""


def unknown_reason(path: Path) -> str:
    return ""


def checkpoint(cfg: DictConfig, why_absent: Reason = unknown_reason) -> Path:
    """The file of the key `checkpoint`; raises ValueError if there is none."""
    example = "a file such as logs/<sweep>/<run>/checkpoints/best.ckpt"
    value = given(cfg, "checkpoint", example)
    if isinstance(value, list):
        raise ValueError(f"expected one checkpoint, got {len(value)}: give {example}")
    path = Path(value).expanduser()
    check_checkpoint(path, why_absent)
    return path


def check_checkpoint(path: Path, why_absent: Reason = unknown_reason) -> None:
    """Raises ValueError, with the reason if that is known, unless a file is there."""
    if path.is_dir():
        raise ValueError(
            f"expected a checkpoint, got a folder, {path}: name a file in it, such as "
            f"checkpoints/best.ckpt of a run"
        )
    if not path.is_file():
        raise ValueError(f"expected a checkpoint at {path}, got no such file{why_absent(path)}")
