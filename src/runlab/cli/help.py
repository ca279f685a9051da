"""What `--help` and `--version` print, read from the table of commands and the configurations."""

import platform
import re
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import runlab
from runlab import console

LINE = 80
"""Characters: of text that does not depend on what a sweep is like, more are hard to read."""

VERSIONED = ("torch", "lightning", "hydra-core")

ABOUT_HYDRA = {
    "-m": "every combination of several values: key=1,2,3",
    "--cfg job": "print the configuration, run nothing",
    "--hydra-help": "the other options, which are Hydra's",
}


def version(program: str) -> str:
    """The release, and of what its numbers depend on; nothing of it is imported."""
    others = ", ".join(f"{name} {metadata.version(name)}" for name in VERSIONED)
    return f"{program} {runlab.__version__} ({others}, Python {platform.python_version()})"


def filled(text: str, indent: str = "") -> str:
    width = min(console.columns(), LINE)
    return textwrap.fill(
        text, width, subsequent_indent=indent, break_on_hyphens=False, break_long_words=False
    )


def table(rows: Mapping[str, str]) -> list[str]:
    """Names and what is said of each, which goes on under itself."""
    length = max(map(len, rows), default=0) + 4
    lines = (filled(f"  {n:{length - 2}}{t}", " " * length) for n, t in rows.items())
    return "\n".join(lines).split("\n")


def examples(program: str, arguments: Iterable[str]) -> list[str]:
    return ["examples:", *(f"  {program} {each}".rstrip() for each in arguments)]


def of_configured(program: str, summary: str, shown: Sequence[str], conf: Path, config: str) -> str:
    """How a command is called that Hydra configures: its groups, and the keys of its own file."""
    groups, keys = groups_of(conf, config), keys_of(conf, config)
    blocks = [
        [f"usage: {program} [KEY=VALUE …]", "", filled(f"{summary[0].upper()}{summary[1:]}.")],
        examples(program, shown),
    ]
    if groups:
        title = f"groups, each chosen by GROUP=CHOICE ({program} --help GROUP lists its choices):"
        blocks.append([filled(title), filled(f"  {', '.join(groups)}", "  ")])
    blocks.append([f"keys ({program} --cfg job shows all):", *table(keys)])
    sweeps = any(each.startswith("-m ") for each in shown)
    options = {k: v for k, v in ABOUT_HYDRA.items() if k != "-m" or sweeps}
    blocks.append(["options:", *table(options)])
    return "\n\n".join("\n".join(block) for block in blocks)


def of_group(program: str, group: str, conf: Path, config: str) -> str:
    """The choices of a group, with the first line of each one's file.

    Raises:
        ValueError: if the command has no such group.
    """
    groups = groups_of(conf, config)
    if not groups:
        raise ValueError(f"expected nothing after {program} --help, got {group}: it has no groups")
    if group not in groups:
        raise ValueError(f"expected a group after --help, one of {', '.join(groups)}, got {group}")
    files = sorted((conf / group).glob("*.yaml"))
    choices = {path.stem: first_comment(path) for path in files}
    title = f"{group}=… of {program}"
    note = ["", "Beside Hydra's own: --hydra-help lists them."] if "/" in group else []
    return "\n".join([title, "", *table(choices), *note])


def first_comment(path: Path) -> str:
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("# ") and not line.startswith("# @"):
            return line[2:]
    return ""


def keys_of(conf: Path, config: str) -> dict[str, str]:
    """The keys that its file itself has at the top, with the comment behind each."""
    text = (conf / f"{config}.yaml").read_text(encoding="utf-8")
    return dict(re.findall(r"^(\w+):[^#\n]*?\S[^#\n]*?# (.+)$", text, re.MULTILINE))


def groups_of(conf: Path, config: str) -> list[str]:
    """The groups of its list of defaults, Hydra's own that have files here included."""
    found = set(defaults(conf, config))
    if "hydra" in found:  # which sweeps are launched by
        found |= {f"hydra/{name}" for name in ("launcher", "sweeper")} - {"hydra"}
    return sorted(found - {"hydra"})


def defaults(conf: Path, config: str) -> Iterator[str]:
    import yaml

    content: Any = yaml.safe_load((conf / f"{config}.yaml").read_text(encoding="utf-8"))
    for entry in content["defaults"]:
        if isinstance(entry, str) and (conf / f"{entry}.yaml").exists():
            yield from defaults(conf, entry)
        elif isinstance(entry, dict):
            yield from (name for name in entry if not name.startswith("override "))
