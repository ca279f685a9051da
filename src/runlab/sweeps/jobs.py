"""The runs that a sweeper launches, as Hydra's overrides, compared by their values."""

import json
from collections.abc import Collection, Sequence
from functools import cache

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from runlab.config.fingerprint import PLACES_OF_DATA, affects_result, as_text, key_of, normalized
from runlab.config.weights import FILE, checksum

Job = Sequence[str]  # its overrides
Setting = tuple[str, str]


@cache
def setting(override: str) -> Setting:
    """Key and value, the same however they are written: of `+a=1.0` and `a=1`.

    Of what Hydra cannot read it is the text.
    """
    try:
        parsed = OverridesParser.create().parse_override(override)
    except HydraException:
        return override, ""
    key = key_of(override)
    value = as_text(normalized(key, parsed.value()))
    return (key, "deleted") if parsed.is_delete() else (key, value)


def identifying(job: Job, watchers: Collection[str]) -> frozenset[Setting]:
    """Those of a run's settings that its result may depend on; a file of weights by its content."""
    settings = {setting(each) for each in job if affects_result(key_of(each), watchers)}
    return frozenset(settings | {weights(each) for each in job if key_of(each) == FILE})


def weights(override: str) -> Setting:
    key, value = setting(override)
    file = json.loads(value) if value.startswith('"') else None
    return key, (checksum(file) if file else None) or value


def first_alike(jobs: Sequence[Job], watchers: Collection[str]) -> list[int]:
    """For each job the index of the first that trains the same run, on data of the same place."""
    first: dict[frozenset[Setting], int] = {}
    alike = []
    for index, job in enumerate(jobs):
        data = {setting(each) for each in job if key_of(each) in PLACES_OF_DATA}
        alike.append(first.setdefault(identifying(job, watchers) | data, index))
    return alike


def swept_keys(jobs: Sequence[Job]) -> set[str]:
    """The keys that not all of them give the same value."""
    each = [set(map(setting, job)) for job in jobs]
    constant = set.intersection(*each) if each else set()
    return {key for settings in each for key, _ in settings - constant}


def covering(batch: Sequence[Job]) -> list[Job]:
    """Runs of the batch in which each override of it occurs."""
    seen: set[str] = set()
    chosen = []
    for overrides in batch:
        if not seen.issuperset(overrides):
            seen.update(overrides)
            chosen.append(overrides)
    return chosen
