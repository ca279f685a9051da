"""Configurations of a sweep's runs, for which Hydra composes each choice of groups only once."""

import copy
import re
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.types import HydraContext
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from runlab.sweeps.template import Template, is_final, record_overrides

PLAIN_KEY = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")


class Composer:
    """Composes what Hydra's `load_sweep_config` does, value by value the same.

    That takes Hydra a quarter of a second a run: it reads some thirty files and merges them. Runs
    of one sweep mostly differ in plain values (`seed=3`). Those are put into a copy of what Hydra
    composed without them, as Hydra itself does it last. Whatever else an override may be, a group,
    `+`, `~` or a key of Hydra's, is left to Hydra.
    """

    def __init__(self, context: HydraContext, config: DictConfig) -> None:
        self.loader, self.config = context.config_loader, config
        self.composed: dict[tuple[str, ...], DictConfig] = {}
        self.templates: dict[tuple[str, ...], Template] = {}
        self.groups: dict[str, bool] = {}

    def compose(self, overrides: Sequence[str]) -> DictConfig:
        """Raises whatever Hydra raises for them."""
        parsed = [parse(each) for each in overrides]
        values, others = self.split(parsed)
        if not values:
            return self.by_hydra(overrides)
        base = tuple(map(line, others))
        if base not in self.composed:
            self.composed[base] = self.by_hydra(base)
        config = copy.deepcopy(self.composed[base])
        try:
            for each in values:
                OmegaConf.update(config, each.key_or_group, each.value(), merge=True)
        except OmegaConfBaseException:
            return self.by_hydra(overrides)  # which has a sentence for it
        record_overrides(config, parsed)
        OmegaConf.copy_cache(from_config=self.config, to_config=config)
        return config

    def template(self, overrides: Sequence[str], folder: Path) -> Template:
        """The configuration of a run with this folder, to be read before another is asked for.

        Raises whatever Hydra raises for the overrides.
        """
        parsed = [parse(each) for each in overrides]
        values, _ = self.split(parsed)
        replaced = [each for each in values if can_be_replaced(each)]
        kept = [each for each in values if not can_be_replaced(each)]
        if replaced and not any(overlap(one, other) for one in replaced for other in kept):
            keys = tuple(each.key_or_group for each in replaced)
            alike = (*(line(each) for each in parsed if each.key_or_group not in keys), "", *keys)
            if alike not in self.templates:
                self.templates[alike] = Template(self.compose(overrides), keys)
            with suppress(OmegaConfBaseException):  # which has a sentence below
                self.templates[alike].fill(parsed, folder)
                return self.templates[alike]
        template = Template(self.compose(overrides), ())
        template.fill(parsed, folder)
        return template

    def split(self, overrides: Sequence[Override]) -> tuple[list[Override], list[Override]]:
        """Those that may be put into what is composed of the others, and these others."""
        values = [each for each in overrides if self.is_plain(each)]
        others = [each for each in overrides if not self.is_plain(each)]
        changes = [each for each in others if not self.is_choice(each)]
        if any(overlap(value, change) for value in values for change in changes):
            return [], list(overrides)
        return values, others

    def by_hydra(self, overrides: Sequence[str]) -> DictConfig:
        return self.loader.load_sweep_config(self.config, list(overrides))

    def is_plain(self, override: Override) -> bool:
        """Whether it gives a key another value, and does nothing else."""
        is_change = override.is_add() or override.is_delete() or override.is_force_add()
        is_placed = override.package is not None or override.is_hydra_override()
        return not is_change and not is_placed and not self.names_group(override)

    def is_choice(self, override: Override) -> bool:
        """Whether it chooses of a group, which Hydra does before any key is given a value."""
        return self.names_group(override) and not isinstance(override.value(), dict)

    def names_group(self, override: Override) -> bool:
        key = override.key_or_group
        if key not in self.groups:
            self.groups[key] = bool(self.loader.get_group_options(key))
        return self.groups[key]


@cache
def parse(override: str) -> Override:
    return OverridesParser.create().parse_override(override)


def overlap(one: Override, other: Override) -> bool:
    """Whether their order may matter: one's key is the other's, or a part of it."""
    keys = (re.split(r"[.\[]", each.key_or_group) for each in (one, other))
    return all(first == second for first, second in zip(*keys, strict=False))


def can_be_replaced(override: Override) -> bool:
    """Whether another run's value may stand in its place, with nothing left of it."""
    return PLAIN_KEY.fullmatch(override.key_or_group) is not None and is_final(override.value())


def line(override: Override) -> str:
    return str(override.input_line)
