"""What a configuration that was received has to be as a whole, before any of it is used.

It is plain values, of which nothing is resolved but where the run itself lies. What it names is
looked at by `targets`. A run that is trained again writes into its own folder alone.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from runlab.config.schema import check_counts
from runlab.config.targets import (
    BASES,
    OPTIONAL,
    SEVERAL,
    TRUST,
    is_trusted_place,
    require_targets,
    shown,
    walk,
)

OWN_VALUES = re.compile(r"\$\{run\.(?:folder|name|label|position)\}")
REQUIRED = ("module", "data", "trainer")
"""Groups of every configuration; of the others, those that its module takes."""

PLACE_OF_FILES = re.compile(r"(?:^|_)(?:path|folder|root|file|location)$|(?<!sub_)dir(?:path)?$")
"""Keys whose value is where files lie."""


def check(config: Any, runs: bool) -> None:
    """Raises ValueError unless the configuration, of a run, is plain values that name nothing else.

    Args:
        runs: whether the run is trained again. Then everything is looked at that it would build,
            and files may be written in the run's own folder alone. What is built without a run is
            looked at by `build`.
    """
    require_plain(config)
    if not isinstance(config, Mapping):
        raise ValueError(f"expected a configuration by its keys, got {shown(config)}")
    require_groups(config)
    check_counts(config)
    if runs:
        if config["trainer"].get("num_nodes", 1) != 1:  # it would wait for the others for ever
            raise ValueError(
                "expected trainer.num_nodes=1 to train a run again on this machine, got "
                f"{shown(config['trainer']['num_nodes'])}"
            )
        require_no_other_target(config)
        for place in BASES:
            for key, node in nodes_of(config, place) if place in config else ():
                require_targets(key, node, place)
        for place in ("callback", "logger", "trainer"):
            require_own_folder(place, config.get(place))


def require_plain(config: Any) -> None:
    """Raises ValueError for what is no plain value, and for text that OmegaConf would resolve."""
    for key, value in walk(config, ""):
        where = key or "the configuration's keys"
        if isinstance(value, Mapping):
            texts = [each for each in value if isinstance(each, str)]
            plain = len(texts) == len(value)
        else:
            texts = [value] if isinstance(value, str) else []
            plain = value is None or isinstance(value, str | int | float | bool | list | tuple)
        if not plain:
            raise ValueError(f"expected plain values in {where}, got {shown(value)}")
        for text in texts:
            if "${" in OWN_VALUES.sub("", text):
                raise ValueError(
                    f"expected {where} as plain text or with ${{run.folder}}, ${{run.name}}, "
                    f"${{run.label}} or ${{run.position}}, got {shown(text)}: a file from "
                    "elsewhere has nothing else resolved; write its value there, if the file is "
                    "yours"
                )


def require_groups(config: Mapping[str, Any]) -> None:
    """Raises ValueError unless each place, and each of several, has its node."""
    for place in (each for each in BASES if each in config or each in REQUIRED):
        for key, node in nodes_of(config, place):
            if not isinstance(node, Mapping) and not (node is None and key in OPTIONAL):
                raise ValueError(f"expected {key} by its keys, with a _target_, got {shown(node)}")


def require_no_other_target(config: Mapping[str, Any]) -> None:
    """Raises ValueError where a class is named that no place builds: it would still be imported."""
    for key, value in walk({each: node for each, node in config.items() if each not in BASES}, ""):
        if isinstance(value, Mapping) and "_target_" in value:
            raise ValueError(
                f"expected no _target_ in {key or 'the configuration itself'}, of which nothing is "
                f"built, got {shown(value['_target_'])}: remove it, if the file is yours"
            )


def require_own_folder(place: str, node: Any) -> None:
    """Raises ValueError where what is built would write outside of the run's own folder."""
    for key, value in walk(node, place):
        if not isinstance(value, str) or is_trusted_place(value):
            continue
        inside = value == "${run.folder}" or value.startswith("${run.folder}/")
        climbs = ".." in re.split(r"[/\\]", value)
        outside = value.startswith(("/", "~", "\\", "${run.folder}")) and not inside
        named = PLACE_OF_FILES.search(re.sub(r"\[\d+\]$", "", key).rpartition(".")[2])
        if climbs or outside or (named and not inside):
            raise ValueError(
                f"expected {key} in the run's own folder, ${{run.folder}}, got {shown(value)}: a "
                f"file from elsewhere writes nowhere else; set {TRUST} to that place to allow it"
            )


def is_declaration(place: str, node: Any) -> bool:
    """Whether a node of the group `metric` only says how a metric is shown: nothing is built."""
    return place == "metric" and isinstance(node, Mapping) and node.keys() <= {"measure"}


def nodes_of(config: Mapping[str, Any], place: str) -> Iterator[tuple[str, Any]]:
    """What is built at a place, by its key."""
    node = config.get(place)
    if place in SEVERAL and isinstance(node, Mapping):
        for name, each in node.items():
            if not is_declaration(place, each):
                yield f"{place}.{name}", each
    else:
        yield place, node
