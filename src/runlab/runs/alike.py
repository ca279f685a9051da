"""The records of many runs that are much alike: what is equal text in them is read once.

`record.write` puts each member of a record, and each member of its configuration, on lines of its
own. In a sweep most of them are the same text. Members that are sound make a sound record, as JSON
is nothing but its members with commas between them; whatever is written otherwise, or is not sound,
is left to `record.read`, which also says what is wrong with it.
"""

import stat
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from runlab.measure import Measure
from runlab.runs import record, record_rules
from runlab.runs.record_rules import RULES, Rule

REQUIRED = {rule.key for rule in RULES if rule.required and "." not in rule.key}


class Member(NamedTuple):
    """`measures` are those of the member of this name."""

    key: str
    value: Any
    measures: Sequence[Measure] = ()


def read(folder: Path) -> dict[str, Any]:
    """As `record.read`, but parts of it may be one object in many records: change none of them.

    Raises:
        ValueError: as `record.read` does.
    """
    found = _read_by_members(folder / "run.json")
    return record.read(folder) if found is None else found


def readable(sweep: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Folder and record of each run in a sweep, of which there may be none; damaged ones left out.

    For whom a damaged record concerns nothing: its own run, and the comparison, speak of it. As by
    `read`, parts may be one object in many records.
    """
    for path in sweep.glob("*/run.json"):
        with suppress(ValueError):
            yield path.parent, read(path.parent)


def _read_by_members(path: Path) -> dict[str, Any] | None:
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode) or found.st_size > record.LARGEST:
            return None
        members = [_member(text) for text in _split(path.read_text(encoding="utf-8"), "")]
    except (OSError, ValueError, RecursionError):
        return None
    content = {each.key: each.value for each in members}
    measures = next((each.measures for each in members if each.key == "measures"), ())
    is_sound = (
        len(content) == len(members)
        and content.keys() >= REQUIRED
        and content.get("layout") == record.LAYOUT
        and record_rules.find_improper_share(content["metrics"], measures) is None
    )
    return content if is_sound else None


def _split(text: str, indent: str) -> list[str]:
    """The texts of a mapping's members, as `json.dumps` with an indent of 1 writes them.

    Raises ValueError where they are written otherwise.
    """
    start, between, end = f'{{\n{indent} "', f',\n{indent} "', f"\n{indent}}}"
    if not (text.startswith(start) and text.endswith(end)):
        raise ValueError("expected a mapping with a member on each line")
    return text[len(start) : -len(end)].split(between)


def _member(text: str) -> Member:
    """Of a record. Raises ValueError where it is not sound by itself."""
    if not text.startswith('config": '):
        return _known_member(text)
    members = [_known_setting(each) for each in _split(text.removeprefix('config": '), " ")]
    settings = {each.key: each.value for each in members}
    if len(settings) < len(members):
        raise ValueError("expected each key of the configuration once")
    return Member("config", settings)


@lru_cache(1_000)
def _known_member(text: str) -> Member:
    member = _parsed_member(text)
    _check(("config", {}) if member.key == "config" else member[:2], ())
    if member.key != "measures":
        return member
    return member._replace(measures=[Measure.from_record(each) for each in member.value])


@lru_cache(30_000)  # of each seed there may be one
def _known_setting(text: str) -> Member:
    member = _parsed_member(text)
    _check(member[:2], ("config",))
    return member


def _parsed_member(text: str) -> Member:
    content = record.strict_json(f'{{"{text}}}', record.DEEPEST - 1)  # one for `config`
    if len(content) != 1:
        raise ValueError("expected one member")
    [(key, value)] = content.items()
    return Member(key, value)


def _check(member: tuple[str, Any], parents: tuple[str, ...]) -> None:
    """Raises ValueError where it breaks a rule."""
    key, value = member
    node: Any = {key: value}
    for parent in reversed(parents):
        node = {parent: node}
    if record_rules.find_broken(node, _rules_of((*parents, key))) is not None:
        raise ValueError(f"expected a sound {key}")


@cache
def _rules_of(keys: tuple[str, ...]) -> list[Rule]:
    """Those of what these keys name, one in the other, and of what lies in it."""
    return [
        rule
        for rule in RULES
        for own in [rule.key.split(".")]
        if len(own) >= len(keys)
        and all(name in ("*", key) for name, key in zip(own, keys, strict=False))
    ]
