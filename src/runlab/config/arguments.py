"""Paths on the command line: runs' names hold `=` and `,`, which mean something else to Hydra."""

from collections.abc import Iterable
from pathlib import Path

from hydra.core.override_parser.types import Quote, QuotedString
from omegaconf import DictConfig, OmegaConf


def quoted(arguments: Iterable[str], keys: Iterable[str]) -> list[str]:
    """The arguments, with the values of these keys quoted so that Hydra takes them as they are.

    `[a.png,b.jpg]` stays a list of paths; a value that the user quoted stays as it is.
    """
    beginnings = tuple(f"{key}=" for key in keys)
    return [quoted_argument(a) if a.startswith(beginnings) else a for a in arguments]


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


def given(cfg: DictConfig, key: str, example: str) -> str | list[str]:
    """The value of a key that has no default.

    Raises:
        ValueError: if the user gave none.
    """
    if OmegaConf.is_missing(cfg, key) or cfg[key] in (None, "", []):
        raise ValueError(f"expected {key}=…, got none: give {example}")
    value = OmegaConf.to_container(cfg)[key]  # type: ignore[index, call-overload]
    return [str(item) for item in value] if isinstance(value, list) else str(value)


def checkpoint(cfg: DictConfig) -> Path:
    example = "a file such as logs/<sweep>/<run>/checkpoints/best.ckpt"
    value = given(cfg, "checkpoint", example)
    if isinstance(value, list):
        raise ValueError(f"expected one checkpoint, got {len(value)}: give {example}")
    return Path(value).expanduser()
