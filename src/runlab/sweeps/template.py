"""The configurations of runs that differ in plain values alone, one after the other."""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from enum import Enum
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.types import Override
from omegaconf import Container, DictConfig, OmegaConf, open_dict, read_write

from runlab.config.axes import ABSENT, value_at
from runlab.config.run_name import PLACE, plain, without_place

Keys = tuple[str | int, ...]
"""Of a value, one in the other."""

REFERENCE = re.compile(r"\$\{([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)\}")


class Template:
    """The configuration of a run, to be read until `fill` makes it that of another run.

    Hydra and OmegaConf need 50 ms to make and to resolve a run's configuration, most of them for
    what is the same in all runs of a sweep. Here a run's values replace those of the run before,
    and only what may depend on them is resolved again.

    Args:
        config: what Hydra composed of one of the runs; the template takes it over.
        keys: of the values in which the runs differ: numbers, texts, true, false or null.
    """

    def __init__(self, config: DictConfig, keys: Collection[str]) -> None:
        self.config, self.keys = config, keys
        hydra = HydraConfig.instance()
        before = hydra.cfg
        hydra.set_config(config)
        hydra.cfg, self.hydra = before, hydra.cfg
        with read_write(config), open_dict(config):
            del config["hydra"]
        self.resolution: Resolution | None = None

    def fill(self, overrides: Sequence[Override], folder: Path) -> None:
        """Takes over the values of a run, and where its folder is.

        Raises:
            OmegaConfBaseException: for a value that its key cannot have.
        """
        for each in overrides:
            if each.key_or_group in self.keys:
                OmegaConf.update(self.config, each.key_or_group, each.value(), merge=True)
        hydra: Any = self.hydra
        with read_write(hydra.hydra), open_dict(hydra.hydra):
            record_overrides(hydra, overrides)
            hydra.hydra.runtime.output_dir = str(folder.absolute())
            hydra.hydra.job.num, hydra.hydra.job.id = 0, "0"

    @contextmanager
    def in_use(self) -> Iterator["Template"]:
        """While Hydra's own configuration is that of the run."""
        hydra = HydraConfig.instance()
        before, hydra.cfg = hydra.cfg, self.hydra
        try:
            yield self
        finally:
            hydra.cfg = before

    def resolved(self) -> dict[str, Any]:
        """What `run_name.resolved` makes of the configuration; raises what that does."""
        if self.resolution is None:
            self.resolution = Resolution(without_place(self.config), self.keys)
        return self.resolution.of({key: OmegaConf.select(self.config, key) for key in self.keys})


class Resolution:
    """A configuration whose values are resolved, and which of them change with those of `keys`."""

    def __init__(self, config: DictConfig, keys: Collection[str]) -> None:
        self.config = config
        self.values = plain(config)
        nodes = OmegaConf.to_container(config)
        texts = {path: leaf for path, leaf in leaves(nodes) if isinstance(leaf, str)}
        self.varying = {
            path for path, text in texts.items() if "${" in text and not is_fixed(text, nodes, keys)
        } | {tuple(key.split(".")) for key in keys}

    def of(self, values: Mapping[str, Any]) -> dict[str, Any]:
        for key, value in values.items():
            OmegaConf.update(self.config, key, value)
        OmegaConf.clear_cache(self.config)  # of resolvers, such as `now`
        result: dict[str, Any] = deepcopy(self.values)
        for path in self.varying:
            inner(result, path)[path[-1]] = in_plain(inner(self.config, path)[path[-1]])
        return result


def is_fixed(text: str, nodes: Any, keys: Collection[str]) -> bool:
    """Whether an interpolation depends on plain values alone, none of which is one of `keys`.

    Resolvers may depend on anything, and what refers to another interpolation is not followed.
    """
    names = REFERENCE.findall(text)
    return "$" not in REFERENCE.sub("", text) and all(
        name in PLACE or (name not in keys and is_final(value_at(nodes, name))) for name in names
    )


def is_final(value: Any) -> bool:
    """Whether OmegaConf takes a value as it is; not where there is none."""
    if isinstance(value, str):
        return "$" not in value and value != "???"
    return value is not ABSENT and not isinstance(value, dict | list)


def leaves(node: Any, path: Keys = ()) -> Iterator[tuple[Keys, Any]]:
    """Values that are no mapping and no list."""
    if not isinstance(node, dict | list):
        yield path, node
        return
    for key, child in node.items() if isinstance(node, dict) else enumerate(node):
        yield from leaves(child, (*path, key))


def inner(nodes: Any, path: Keys) -> Any:
    """The mapping or list that has the last key of a path."""
    for key in path[:-1]:
        nodes = nodes[key]
    return nodes


def in_plain(value: Any) -> Any:
    if isinstance(value, Container):
        return plain(value)
    return value.name if isinstance(value, Enum) else value


def record_overrides(config: Any, overrides: Sequence[Override]) -> None:
    """What Hydra notes of them in its own configuration."""
    job = config.hydra.job
    rules = job.config.override_dirname
    given = [each for each in overrides if not each.is_hydra_override()]
    lines = [str(each.input_line) for each in given if each.key_or_group not in rules.exclude_keys]
    joined = rules.item_sep.join(sorted(lines))
    config.hydra.overrides.task = [str(each.input_line) for each in given]
    job.override_dirname = re.sub("[=]", lambda _: rules.kv_sep, joined)
