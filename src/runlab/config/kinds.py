"""What kind of value a parameter takes, by its annotation: checked, and said in words."""

import types
from collections.abc import Collection, Iterable, Mapping
from collections.abc import Sequence as AbstractSequence
from dataclasses import is_dataclass
from enum import Enum
from functools import cache
from inspect import Parameter, signature
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

WORDS: Mapping[Any, tuple[str, str]] = {
    int: ("a whole number", "whole numbers"),
    float: ("a number", "numbers"),
    bool: ("true or false", "true or false"),
    str: ("a text", "texts"),
    type(None): ("null", "null"),
}
"""Of one value, and of several."""

LISTS = (list, tuple, set, frozenset, AbstractSequence, Collection, Iterable)


def shown(value: Any) -> str:
    """As the command line has it: null, true, or Python's own form; never long."""
    plain = {None: "null", True: "true", False: "false"}
    is_plain = value is None or isinstance(value, bool)
    text = plain[value] if is_plain else repr(value)
    return text if len(text) <= 80 else f"{text[:79]}…"


def kind_of(annotation: Any, several: bool = False) -> str:
    """In words, as in `a list of whole numbers, or null`; empty for what has no name here."""
    if annotation in WORDS:
        return WORDS[annotation][several]
    if is_union(annotation):
        kinds = [each for each in get_args(annotation) if each is not type(None)]
        if bool in kinds and str in map(type, literals(kinds)):
            kinds = [each for each in kinds if each is not bool] + [bool]
        if float in kinds:
            kinds = [each for each in kinds if each is not int]  # a number is either
        words = [*dict.fromkeys(filter(None, (kind_of(each, several) for each in kinds)))]
        return ", or ".join([*words, *(["null"] if len(kinds) < len(get_args(annotation)) else [])])
    if get_origin(annotation) is Literal:
        return "one of " + ", ".join(map(str, get_args(annotation)))
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return "one of " + ", ".join(each.name for each in annotation)
    if (origin := get_origin(annotation) or annotation) in LISTS:
        items = [each for each in get_args(annotation) if each is not Ellipsis]
        of = kind_of(items[0], several=True) if items else ""
        return f"a list of {of}" if of else "a list, as in [a,b]"
    if origin in (dict, Mapping) or is_dataclass(annotation):
        return "keys with values, as in {a: 1}"
    return "a Module, by its _target_" if is_module(annotation) else ""


def is_module(annotation: Any) -> bool:
    """Of torch, which need not be imported for this."""
    return isinstance(annotation, type) and hasattr(annotation, "named_parameters")


def literals(kinds: Iterable[Any]) -> list[Any]:
    return [value for kind in kinds if get_origin(kind) is Literal for value in get_args(kind)]


def is_union(annotation: Any) -> bool:
    return get_origin(annotation) in (Union, types.UnionType)


def is_whole(value: Any) -> bool:
    """Whether it is a whole number, which true and false are not."""
    return isinstance(value, int) and not isinstance(value, bool)


def fits(value: Any, annotation: Any) -> bool:
    """Whether a plain value may be what the annotation says; True for what it does not say.

    A whole number is a number, true and false are none, and a text is no list. Keys with values may
    make anything, by their `_target_`.
    """
    if isinstance(value, Mapping):
        return True
    if is_union(annotation):
        return any(fits(value, each) for each in get_args(annotation))
    if get_origin(annotation) is Literal:
        return any(value == each and type(value) is type(each) for each in get_args(annotation))
    if annotation in (None, type(None)):
        return value is None
    if annotation is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if annotation is int:
        return is_whole(value)
    if annotation in (bool, str):
        return isinstance(value, annotation)
    if (get_origin(annotation) or annotation) in LISTS:
        kinds = [each for each in get_args(annotation) if each is not Ellipsis] or [Any]
        return isinstance(value, list | tuple) and all(
            fits(each, kinds[min(index, len(kinds) - 1)]) for index, each in enumerate(value)
        )
    return not is_module(annotation)


@cache
def annotations_of(target: Any) -> Mapping[str, Any]:
    """The annotations of a class's or function's parameters, as far as they can be resolved."""
    maker = target.__init__ if isinstance(target, type) else target  # type: ignore[misc]
    try:
        hints = get_type_hints(maker)
        defaults = signature(maker).parameters
    except Exception:  # of whatever a user's annotations name
        return {}
    return {
        name: hint | None if is_optional(defaults.get(name)) else hint
        for name, hint in hints.items()
        if name != "return"
    }


def is_optional(parameter: Parameter | None) -> bool:
    return parameter is not None and parameter.default is None


def check_kind(key: str, value: Any, annotation: Any) -> None:
    """Raises ValueError unless a plain value fits the annotation of the parameter that gets it."""
    if not fits(value, annotation) and (kind := kind_of(annotation)):
        raise ValueError(f"expected {key} to be {kind}, got {shown(value)}")
