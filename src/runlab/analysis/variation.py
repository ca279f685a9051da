"""Which settings follow the seed over the runs of a sweep, and which are equal in all of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from runlab.analysis.arms import IGNORED_ENDINGS, IGNORED_GROUPS, IGNORED_KEYS
from runlab.analysis.columns import columns
from runlab.analysis.facts import find_commands, find_facts
from runlab.config.axes import Axes
from runlab.config.fingerprint import affects_result, flatten
from runlab.runs.record import nested_dict

EPOCHS = "trainer.max_epochs"

LIMITS = {
    **dict.fromkeys((f"trainer.limit_{each}_batches" for each in ("train", "val", "test")), "1.0"),
    "trainer.max_steps": "-1",
    "trainer.overfit_batches": "0.0",
}
"""How much a run trains on and is measured on, and what says that it is all."""

IGNORED = (*IGNORED_GROUPS, "callback")
"""Where a run came from, where it writes, and who watches it."""

Texts = Mapping[str, Sequence[str]]
"""Of each run, by key."""


@dataclass(frozen=True)
class Variation:
    """What varied between the runs that have ended, as their records say.

    Attributes:
        seeds, hardware, versions: how many kinds there are.
        follow: keys whose value follows the seed in every run, as in `data.seed`.
        fixed: other seeds, equal in all runs: value by key.
        equal: choices that are equal in all runs, as in `optimizer=sgd but for lr`.
        modules: the classes of the runs' modules.
        facts, commands: what was trained, and how to train it again, in words.
    """

    seeds: int
    follow: tuple[str, ...]
    fixed: Mapping[str, str]
    equal: tuple[str, ...]
    hardware: int
    versions: int
    modules: tuple[str, ...]
    facts: Mapping[str, str]
    commands: Sequence[str]


def find_variation(
    records: Sequence[Mapping[str, Any]], begun: Sequence[Mapping[str, Any]], axes: Axes
) -> Variation:
    """`records` are those of runs that have ended, `begun` those of all."""
    configs = _texts([nested_dict(record, "config") for record in records])
    choices = _texts([nested_dict(record, "choices") for record in records])
    seed = configs.get("seed", ())
    varying = [key for key, values in configs.items() if len(set(values)) > 1 and key != "seed"]
    return Variation(
        seeds=len(set(seed)),
        follow=tuple(key for key in varying if _follows(configs[key], seed)),
        fixed={
            key: values[0]
            for key, values in configs.items()
            if key.endswith("seed") and key not in ("seed", *varying)
        },
        equal=(
            *(_but_for(f"{group}={values[0]}", group, varying)
              for group, values in choices.items()
              if len(set(values)) == 1 and values[0] != "None"),
            *(f"{key}={values[0]}"
              for key, whole in {EPOCHS: "", **LIMITS}.items()
              for values in [configs.get(key, ())]
              if len(set(values)) == 1 and values[0] not in ("None", whole)),
        ),
        hardware=_count_kinds(records, "hardware"),
        versions=_count_kinds(records, "versions"),
        modules=tuple(sorted(set(configs.get("module._target_", ())))),
        facts=find_facts(records, axes),
        commands=find_commands(begun),
    )  # fmt: skip


def _texts(nodes: Sequence[Mapping[str, Any]]) -> Texts:
    """The values of keys that may change a result; those that some runs lack are empty there."""
    return columns(nodes, _texts_of)


def _texts_of(name: str, value: Any) -> dict[str, str]:
    return {key: str(own) for key, own in flatten({name: value}).items() if _may_change(key)}


def _may_change(key: str) -> bool:
    last = key.split(".")[-1]
    is_path = last in IGNORED_KEYS or last.endswith(IGNORED_ENDINGS)
    return affects_result(key) and key.split(".")[0] not in IGNORED and not is_path


def _follows(values: Sequence[str], seed: Sequence[str]) -> bool:
    """Whether each seed has one value, and each value one seed."""
    pairs = set(zip(seed, values, strict=True))
    return len(pairs) == len(set(seed)) == len(set(values))


def _but_for(choice: str, group: str, varying: Sequence[str]) -> str:
    parts = [key.removeprefix(f"{group}.") for key in varying if key.startswith(f"{group}.")]
    return f"{choice} but for {' and '.join(parts)}" if parts else choice


def _count_kinds(records: Sequence[Mapping[str, Any]], name: str) -> int:
    return len({str(nested_dict(record, "provenance").get(name)) for record in records})
