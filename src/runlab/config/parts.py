"""What the engine builds for a module: those parts that its constructor names."""

from collections.abc import Iterable, Mapping
from typing import Any

from runlab.config.fingerprint import key_of
from runlab.config.schema import accepted_parameters
from runlab.measure import target_of

GROUPS: Mapping[str, str] = {
    "network": "model",
    "loss": "loss",
    "optimizer": "optimizer",
    "scheduler": "scheduler",
}
"""Parameters of a module's constructor, and the configuration groups that they are built from."""


def named_parts(module: Mapping[Any, Any]) -> set[str]:
    """The parameters that a module's constructor names and its node leaves open.

    Raises:
        ValueError: if the module cannot be imported.
    """
    taken = accepted_parameters(target_of("module", module)) or set()
    return taken - set(map(str, module))


def unused_groups(module: Mapping[Any, Any]) -> set[str]:
    """Groups of which nothing is built for a module.

    Raises:
        ValueError: if the module cannot be imported.
    """
    named = named_parts(module)
    return {group for part, group in GROUPS.items() if part not in named}


def without_unused(config: dict[str, Any], overrides: Iterable[str] = ()) -> dict[str, Any]:
    """The configuration without groups of which nothing is built for its module.

    Raises:
        ValueError: if an override sets one of them: it would change nothing.
    """
    unused = unused_groups(config["module"])
    for override in overrides:
        group = key_of(override).split(".")[0]
        if group in unused:
            [part] = [each for each, own in GROUPS.items() if own == group]
            raise ValueError(
                f"expected no {key_of(override)}, as {config['module']['_target_']} takes no "
                f"{part}, got {override}: leave it out, or choose another module"
            )
    return {key: value for key, value in config.items() if key not in unused}
