"""Which runs a conclusion is of, and what it says: `conclusion.json`, for who does not compare.

Programs, the index, what cleans up and the dashboard ask here alone. Nothing is imported that takes
its time.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from runlab.runs import alike, record

CONCLUSION = "conclusion.json"

Outcome = tuple[str, str]
"""Of a run that has ended: its name, and when its last process began with it.

A run that is trained again has another one, as that is another result.
"""

Outcomes = frozenset[Outcome]


def outcome_of(run: str, entry: Mapping[str, Any]) -> Outcome | None:
    """By the run's record; None if it has not ended, or the record is empty."""
    if entry.get("status") not in record.ENDED:
        return None
    latest = record.nested_dict(entry, "timing").get("latest")
    return run, latest if isinstance(latest, str) else ""


def outcomes_of(records: Iterable[tuple[str, Mapping[str, Any]]]) -> Outcomes:
    """Of records by the names of their runs."""
    found = (outcome_of(run, entry) for run, entry in records)
    return frozenset(each for each in found if each is not None)


def current_outcomes(sweep: Path) -> Outcomes:
    """Those that a comparison of this sweep would be of now."""
    return outcomes_of((folder.name, entry) for folder, entry in alike.readable(sweep))


def to_outcomes(pairs: Any) -> Outcomes:
    """Of JSON. Raises ValueError if it is none of outcomes."""
    if not isinstance(pairs, list) or not all(map(_is_texts, pairs)):
        raise ValueError(f"expected pairs of a run and its last start, got {pairs}")
    return frozenset((run, latest) for run, latest in pairs)


@dataclass(frozen=True)
class Conclusion:
    """What a comparison concludes.

    Attributes:
        verdict: the first of the conclusions, which are sentences.
        headlines: a short one for each pair of arms.
        measure: its name.
        chosen: the runs at the chosen learning rates.
        ended: the outcomes that it is of.
    """

    verdict: str
    headlines: list[str]
    conclusions: list[str]
    measure: str
    arms: list[str]
    chosen: list[str]
    ended: Outcomes

    def to_json(self) -> str:
        return json.dumps(asdict(self) | {"ended": sorted(self.ended)}, indent=1)


def read_conclusion(comparison: Path) -> Conclusion | None:
    """None if it is not there, or not as `Conclusion.to_json` writes it."""
    try:
        content = json.loads((comparison / CONCLUSION).read_text(encoding="utf-8"))
        conclusion = Conclusion(**content | {"ended": to_outcomes(content["ended"])})
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return None
    texts = conclusion.verdict, conclusion.measure
    lists = conclusion.headlines, conclusion.conclusions, conclusion.arms, conclusion.chosen
    return conclusion if _is_texts([*texts]) and all(map(_is_texts, lists)) else None


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(each, str) for each in value)
