"""What runs declare of their comparison beforehand, and what they declare alike."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from runlab.analysis.formatting import listed
from runlab.analysis.palette import Style, known_styles
from runlab.config.axes import LARGEST, SMALLEST, Axes
from runlab.measure import Measure, is_number
from runlab.runs.record import nested_dict
from runlab.text import plural


@dataclass(frozen=True)
class Declaration:
    """Of one run.

    Attributes:
        measures: what its module measures, the primary one first.
        axes: by what its arm is named, and what is tuned for each.
        sections, outputs: importable names, as in `comparison.sections`.
        arm_styles: as in `comparison.arm_styles`.
        margins: by measure, as in `comparison.margin`; a number there is the primary one's.
    """

    measures: tuple[Measure, ...]
    axes: Axes
    sections: tuple[str, ...]
    outputs: tuple[str, ...]
    arm_styles: Mapping[str, Any]
    margins: Mapping[str, float]

    @property
    def primary(self) -> Measure:
        return self.measures[0]


def read_declaration(run_record: Mapping[str, Any]) -> Declaration:
    """Raises ValueError where the record names no measure, or a margin that is none."""
    entries = run_record.get("measures")
    if not isinstance(entries, list) or not entries or not all(map(_is_mapping, entries)):
        raise ValueError(
            "expected measures in run.json, got none: the module has to declare what it measures"
        )
    comparison = nested_dict(run_record, "config", "comparison")
    measures = tuple(map(Measure.from_record, entries))
    return Declaration(
        measures=measures,
        axes=Axes.of(nested_dict(run_record, "config")),
        sections=tuple(map(str, comparison.get("sections") or ())),
        outputs=tuple(map(str, comparison.get("outputs") or ())),
        arm_styles=nested_dict(comparison, "arm_styles"),
        margins=_read_margins(comparison.get("margin"), measures[0].name),
    )


def _read_margins(declared: Any, primary: str) -> dict[str, float]:
    margins = declared if isinstance(declared, Mapping) else {primary: declared}
    for name, margin in margins.items():
        if margin is not None and not (is_number(margin) and SMALLEST <= margin <= LARGEST):
            raise ValueError(
                f"expected a comparison.margin above 0 for {name} in run.json, got {margin!r}"
            )
    return {name: margin for name, margin in margins.items() if margin is not None}


@dataclass(frozen=True)
class Agreement:
    """What all runs of a sweep declare.

    Attributes:
        measure: what they are compared by.
        measures: those that all declare alike, as the first run shows them.
        primary: the one that is primary for all; None where they differ in it.
        warnings: a sentence for each thing in which they differ, or that cannot be used.
    """

    measure: Measure
    measures: tuple[Measure, ...]
    primary: Measure | None
    sections: tuple[str, ...]
    outputs: tuple[str, ...]
    known_styles: dict[str, Style]
    warnings: list[str]


def agree(by_run: Mapping[str, Declaration], metric: str | None) -> Agreement:
    """What the runs declare together, to be compared by `metric` or else by the primary measure.

    Raises:
        ValueError: if they differ in what is primary, or not all declare `metric` alike.
    """
    declarations = list(by_run.values())
    measures, primary = _shared_measures(declarations), _shared_primary(declarations)
    styles, problems = _merge_styles(declarations)
    return Agreement(
        measure=_select_measure(by_run, measures, primary, metric),
        measures=measures,
        primary=primary,
        sections=_merge_names(each.sections for each in declarations),
        outputs=_merge_names(each.outputs for each in declarations),
        known_styles=styles,
        warnings=[*_differing_measures(declarations, measures, primary), *problems],
    )


def agree_on_axes(
    by_run: Mapping[str, Declaration], arm: str | None = None, rate: str | None = None
) -> Axes:
    """By what the runs are compared.

    Args:
        arm, rate: keys in place of theirs; `null` for none.

    Raises:
        ValueError: if they differ in a key that is not given.
    """
    return Axes(
        arm=_agree_on_key("arm", {run: own.axes.arm for run, own in by_run.items()}, arm),
        rate=_agree_on_key("rate", {run: own.axes.rate for run, own in by_run.items()}, rate),
    )


def _agree_on_key(name: str, by_run: Mapping[str, str | None], given: str | None) -> str | None:
    if given is not None:
        return None if given == "null" else given
    kinds: dict[str | None, list[str]] = {}
    for run, key in by_run.items():
        kinds.setdefault(key, []).append(run)
    if len(kinds) > 1:
        told = _who([(key or "null", runs) for key, runs in kinds.items()])
        raise ValueError(
            f"expected runs with one comparison.{name}, got {told}: say by --{name} which one"
        )
    return next(iter(kinds), getattr(Axes(), name))


def _shared_measures(declarations: Sequence[Declaration]) -> tuple[Measure, ...]:
    meanings = [set(map(_meaning, kind)) for kind in {each.measures for each in declarations}]
    first = declarations[0].measures
    return tuple(each for each in first if all(_meaning(each) in own for own in meanings))


def _shared_primary(declarations: Sequence[Declaration]) -> Measure | None:
    primaries = {_meaning(each) for each in {each.primary for each in declarations}}
    return declarations[0].primary if len(primaries) == 1 else None


def _select_measure(
    by_run: Mapping[str, Declaration],
    measures: Sequence[Measure],
    primary: Measure | None,
    metric: str | None,
) -> Measure:
    ways = f"name one that all declare alike by --metric: {', '.join(_names(measures))}"
    if not measures:
        ways = "they share none, so compare them in sweeps of their own"
    if metric is None and primary is not None:
        return primary
    if metric is None:
        told = _count_primaries(by_run)
        raise ValueError(f"expected runs with one primary measure, got {told}: {ways}")
    for measure in measures:
        if measure.name == metric:
            return measure
    raise ValueError(
        f"expected a measure that all runs declare alike, got {metric}: {ways}; before training "
        f'a module\'s class declares others, by measures = (runlab.Measure("{metric}", …), …)'
    )


def _count_primaries(by_run: Mapping[str, Declaration]) -> str:
    """`rmse (10 runs), rmse otherwise declared (1 run: loss=…)`: who differs is named."""
    kinds: dict[Measure, list[str]] = {}
    for run, each in by_run.items():
        kinds.setdefault(_meaning(each.primary), []).append(run)
    most = max(kinds, key=lambda kind: len(kinds[kind]))
    again = " otherwise declared"
    return _who(
        [
            (measure.name + again * (measure.name == most.name and measure != most), runs)
            for measure, runs in kinds.items()
        ]
    )


def _who(kinds: Sequence[tuple[str, list[str]]]) -> str:
    """`loss (10 runs), module (1 run: loss=…)`: the runs of all kinds but the largest are named."""
    (most, runs), *others = sorted(kinds, key=lambda kind: -len(kind[1]))
    told = [f"{name} ({plural(len(own), 'run')}: {listed(own, 3)})" for name, own in others]
    return ", ".join([f"{most} ({plural(len(runs), 'run')})", *told])


def _differing_measures(
    declarations: Sequence[Declaration], measures: Sequence[Measure], primary: Measure | None
) -> list[str]:
    kinds = {each.measures for each in declarations}
    if any(len(kind) > len(measures) for kind in kinds):
        told = _count(", ".join(_names(each.measures)) for each in declarations)
        alike = listed(_names(measures), 12) or "none"
        return [f"the runs declare different measures: {told}; alike in all: {alike}"]
    if primary is None:
        told = _count(each.primary.name for each in declarations)
        return [f"the runs declare different primary measures: {told}"]
    return []


def _merge_styles(declarations: Iterable[Declaration]) -> tuple[dict[str, Style], list[str]]:
    """The styles of all known arms, the first for an arm if several are declared.

    And a sentence for each that is none.
    """
    entries: dict[str, Any] = {}
    for declaration in declarations:
        for arm, entry in declaration.arm_styles.items():
            entries.setdefault(arm, entry)
    styles: dict[str, Style] = {}
    problems: list[str] = []
    for arm, entry in entries.items():
        try:
            styles |= known_styles({arm: entry})
        except ValueError as error:
            problems.append(str(error))
    return styles, problems


def _merge_names(names: Iterable[Sequence[str]]) -> tuple[str, ...]:
    """Each name once, in the order in which they come."""
    return tuple(dict.fromkeys(name for own in names for name in own))


def _is_mapping(entry: Any) -> bool:
    return isinstance(entry, Mapping)


@cache
def _meaning(measure: Measure) -> Measure:
    """All of a measure that changes what its values say, not how they are shown."""
    return replace(measure, title="", digits=0, milestones=(), tolerance=None)


def _names(measures: Iterable[Measure]) -> list[str]:
    return [measure.name for measure in measures]


def _count(kinds: Iterable[str]) -> str:
    """`rmse (10 runs), mae (1 run)`"""
    counts = Counter(kinds)
    return ", ".join(f"{kind or 'none'} ({plural(n, 'run')})" for kind, n in counts.items())
