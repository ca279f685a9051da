"""What a run record of this layout holds: a rule for each key, so that no reader asks again."""

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import Any, NamedTuple

from runlab.measure import Measure, is_number
from runlab.text import shortened

ABSENT = object()
ROUNDING = 1e-6  # of a share in single precision


class Rule(NamedTuple):
    """`key` is dotted; `*` at its end stands for each key there. Parents come before children."""

    key: str
    expected: str
    holds: Callable[[Any], bool]
    required: bool = False


def find_problem(record: Mapping[str, Any]) -> str | None:
    """What is wrong with a record, as in `one without metrics`; None if nothing is."""
    if (broken := find_broken(record, RULES)) is not None:
        return broken
    try:
        measures = [Measure.from_record(each) for each in record["measures"]]
    except ValueError as error:
        return f"one with a wrong measure: {error}"
    return find_improper_share(record["metrics"], measures)


def find_broken(record: Mapping[str, Any], rules: Iterable[Rule]) -> str | None:
    """What of a record breaks the first of these rules that it breaks."""
    for rule in rules:
        for key, value in values_at(record, _parts(rule.key)):
            if value is ABSENT and rule.required:
                return f"one without {key}"
            if value is not ABSENT and not rule.holds(value):
                return f"one whose {key} is {shown(value)} instead of {rule.expected}"
    return None


def find_improper_share(metrics: Mapping[str, Any], measures: Sequence[Measure]) -> str | None:
    """A share of samples that is none."""
    for measure in (each for each in measures if each.proportion):
        for name in (f"val/{measure.name}", f"test/{measure.name}"):
            value = metrics.get(name)
            if value is not None and not -ROUNDING <= value <= 1 + ROUNDING:
                return f"one whose metrics.{name} is {value} instead of a share from 0 to 1"
    return None


@cache
def _parts(key: str) -> tuple[str, ...]:
    return tuple(key.split("."))


def values_at(node: Any, keys: Sequence[str]) -> list[tuple[str, Any]]:
    """Each value of a key in parts with its full key; none where a parent is no mapping."""
    *parents, last = keys
    for key in parents:
        node = node.get(key) if isinstance(node, dict) else None
    if not isinstance(node, dict):
        return []
    if last != "*":
        return [(".".join(keys), node.get(last, ABSENT))]
    return [(".".join([*parents, name]), value) for name, value in node.items()]


def is_deeper(value: Any, levels: int) -> bool:
    """Whether mappings and lists lie one in the other on more levels than these."""
    layer = [value]
    for _ in range(levels):
        children = [
            list(each.values()) if isinstance(each, dict) else each
            for each in layer
            if isinstance(each, dict | list)
        ]
        layer = [child for each in children for child in each]
        if not layer:
            return False
    return True


def shown(value: Any) -> str:
    return shortened(json.dumps(value), 60)


# What values are


def is_word(value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch(r"[a-z][a-z_]{0,31}", value) is not None


def is_text(value: Any) -> bool:
    return isinstance(value, str)


def is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(map(is_text, value))


def is_mapping(value: Any) -> bool:
    return isinstance(value, dict)


def is_amount(value: Any) -> bool:
    return is_number(value) and value >= 0


def is_count(value: Any) -> bool:
    return is_number(value) and 0 <= value < 2**63 and value == int(value)


def is_positive_count(value: Any) -> bool:
    return is_count(value) and value > 0


def is_seed(value: Any) -> bool:
    return isinstance(value, int) and is_count(value)


def is_time(value: Any) -> bool:
    try:
        return isinstance(value, str) and bool(datetime.fromisoformat(value))
    except ValueError:
        return False


def is_mappings(value: Any) -> bool:
    return isinstance(value, list) and all(map(is_mapping, value))


def nullable(holds: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: value is None or holds(value)


def is_choice(value: Any) -> bool:
    return value is None or is_text(value) or is_texts(value)


def is_watchers(value: Any) -> bool:
    """True or false by name; of an earlier release a list of names."""
    return is_texts(value) or (is_mapping(value) and set(map(type, value.values())) <= {bool})


def is_plain(value: Any) -> bool:
    return value is None or is_text(value) or is_number(value)


RULES = (
    Rule("status", "a word", is_word, required=True),
    Rule("error", "a text or null", nullable(is_text)),
    Rule("from_start", "true or false", lambda value: isinstance(value, bool)),
    Rule("checkpoints_removed", "a time such as 2026-01-31T12:00:00+00:00", is_time),
    Rule("sweep_index", "a mapping or null", nullable(is_mapping)),
    Rule("sweep_index.number", "a whole number above 0", is_positive_count, required=True),
    Rule("sweep_index.of", "a whole number above 0", is_positive_count, required=True),
    Rule("launch", "a mapping or null", nullable(is_mapping)),
    Rule("launch.id", "a text", is_text, required=True),
    Rule("launch.swept", "a list of texts", is_texts, required=True),
    Rule("overrides", "a list of texts", is_texts, required=True),
    Rule("choices", "a mapping", is_mapping, required=True),
    Rule("choices.*", "a text, a list of texts or null", is_choice),
    Rule("choices.loss", "a text or null", nullable(is_text)),
    Rule("choices.data", "a text or null", nullable(is_text)),
    Rule("config", "a mapping", is_mapping, required=True),
    Rule("config.name", "a text", is_text),
    Rule("config.seed", "a whole number of at least 0", nullable(is_seed)),
    Rule("config.watchers", "true or false by name, or null", nullable(is_watchers)),
    *(
        Rule(f"config.{group}", "a mapping or null", nullable(is_mapping))
        for group in (
            "module",
            "data",
            "model",
            "loss",
            "optimizer",
            "trainer",
            "metric",
            "comparison",
        )
    ),
    Rule("config.trainer.max_epochs", "a whole number above 0", nullable(is_positive_count)),
    Rule("config.comparison.arm", "a key or null", nullable(is_text)),
    Rule("config.comparison.rate", "a key or null", nullable(is_text)),
    Rule("config.comparison.metric", "a text or null", nullable(is_text)),
    Rule("config.comparison.sections", "a list of texts or null", nullable(is_texts)),
    Rule("config.comparison.outputs", "a list of texts or null", nullable(is_texts)),
    Rule("config.comparison.arm_styles", "a mapping or null", nullable(is_mapping)),
    Rule("label", "a text", is_text),
    Rule("fingerprint", "a text", is_text, required=True),
    Rule("metrics", "a mapping", is_mapping, required=True),
    Rule("metrics.*", "a finite number or null", nullable(is_number)),
    Rule("metrics.epochs", "a number of at least 0", nullable(is_amount)),
    Rule("metrics.best_epoch", "a number of at least 0", nullable(is_amount)),
    Rule("metrics.val/samples", "a whole number above 0", nullable(is_positive_count)),
    Rule("metrics.test/samples", "a whole number above 0", nullable(is_positive_count)),
    Rule("timing", "a mapping", is_mapping, required=True),
    Rule("timing.*", "a text, a number or null", is_plain),
    Rule("timing.started", "a time such as 2026-01-31T12:00:00+00:00", is_time),
    Rule("timing.latest", "a time such as 2026-01-31T12:00:00+00:00", is_time),
    Rule("timing.seconds", "a number of at least 0", nullable(is_amount)),
    Rule("timing.samples_per_second", "a number of at least 0", nullable(is_amount)),
    Rule("timing.resumed", "a whole number of at least 0", is_count),
    Rule("timing.stack", "a whole number above 0", nullable(is_positive_count)),
    Rule("timing.process", "a whole number above 0", nullable(is_positive_count)),
    Rule("module", "a mapping or null", nullable(is_mapping)),
    Rule("parameters", "a whole number of at least 0", nullable(is_count)),
    Rule("measures", "a list of mappings", is_mappings, required=True),
    Rule("provenance", "a mapping", is_mapping, required=True),
    Rule("provenance.git", "a mapping or null", nullable(is_mapping), required=True),
    Rule("provenance.versions", "a mapping", is_mapping, required=True),
    Rule("provenance.versions.*", "a text", is_text),
    Rule("provenance.hardware", "a mapping or null", nullable(is_mapping), required=True),
    Rule("provenance.data", "anything, or null", lambda value: True, required=True),
    Rule("provenance.earlier", "a list of mappings", is_mappings),
)
