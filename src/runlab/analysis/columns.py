"""Settings of many runs as columns: what runs have in common is looked at once."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from runlab.config.axes import ABSENT


class Place(NamedTuple):
    """Where a key stands first: in which run, in which of its entries, and where in that."""

    run: int
    entry: int
    within: int


def columns(
    nodes: Sequence[Mapping[str, Any]], flat: Callable[[str, Any], Mapping[str, str]]
) -> dict[str, list[str]]:
    """Texts over runs by key, in the order in which keys come, run by run; empty where one lacks.

    Args:
        nodes: a mapping for each run.
        flat: the keys and texts of an entry of these, called once for all runs of which the value
            is one object, as `alike.read` makes it.
    """
    found: dict[str, list[str]] = {}
    places: dict[str, Place] = {}
    for name in dict.fromkeys(name for node in nodes for name in node):
        values = [node.get(name, ABSENT) for node in nodes]
        identities = list(map(id, values))
        kinds = dict(zip(identities, values, strict=True))
        firsts = dict(zip(reversed(identities), reversed(range(len(nodes))), strict=True))
        texts = {key: {} if kind is ABSENT else flat(name, kind) for key, kind in kinds.items()}
        for key, own in texts.items():
            run = firsts[key]
            for within, text_key in enumerate(own):
                place = Place(run, list(nodes[run]).index(name), within)
                places[text_key] = min(places.get(text_key, place), place)
        for text_key in dict.fromkeys(each for own in texts.values() for each in own):
            of_kind = {key: own.get(text_key, "") for key, own in texts.items()}
            found[text_key] = [of_kind[identity] for identity in identities]
    return {key: found[key] for key in sorted(found, key=places.__getitem__)}
