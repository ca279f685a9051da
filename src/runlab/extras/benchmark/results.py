"""What a benchmark has measured, and what follows from it."""

from dataclasses import dataclass
from statistics import median
from typing import Any, NamedTuple


class Spread(NamedTuple):
    median: float
    least: float
    most: float


def spread(values: list[float]) -> Spread:
    return Spread(median(values), min(values), max(values))


def three_digits(value: float) -> str:
    """Three digits, or all before the point."""
    decimals = 2 if value < 10 else 1 if value < 100 else 0
    return f"{value:.{decimals}f}"


@dataclass(frozen=True)
class TimeBreakdown:
    """The parts of the time for a step of one of several runs that train together.

    Args:
        compute: seconds in which the step was computed, with those of the other runs; also its
            share of finding out, once, whether they can be.
        loop: seconds of its Lightning loop: fetching batches, callbacks, logging.
        other: seconds of changing from run to run, and of the runs' ends.
    """

    compute: float
    loop: float
    other: float


@dataclass(frozen=True)
class Memory:
    """Bytes at the highest, in one process: of one run, then of several that train together.

    None where it cannot be known.
    """

    alone: int | None
    together: int | None

    def further_run(self, runs: int) -> float | None:
        """Bytes that each run adds to the first."""
        if self.alone is None or self.together is None or runs < 2:
            return None
        return (self.together - self.alone) / (runs - 1)


@dataclass
class Results:
    """What was measured. Lists hold one value a round.

    The first baseline is the bare loop, the second one run of losslab.

    Args:
        seconds: per optimizer step, by baseline.
        stacks: how many runs train together, by baseline; one run of losslab is none.
        breakdown: where their time went, by baseline.
        memory: what they take, by baseline; empty if not asked for.
        resource: what a baseline computes on: so many threads, or a device.
        flops: floating-point operations a second of a large matrix product, by resource.
        copied: bytes a second, read and written, of a large copy, by resource.
        seconds_outside_training: of each of losslab's runs, which are not in `seconds`.
        startups: seconds of each fresh process, by stage.
        settings: what was trained, and where, in words.
    """

    descriptions: dict[str, str]
    seconds: dict[str, list[float]]
    rounds: int
    steps: int
    batch_size: int
    stacks: dict[str, int]
    breakdown: dict[str, list[TimeBreakdown]]
    memory: dict[str, Memory]
    step_flops: int
    step_bytes: int
    resource: dict[str, str]
    flops: dict[str, float]
    copied: dict[str, float]
    seconds_outside_training: list[float]
    startups: list[dict[str, float]]
    settings: dict[str, Any]
    provenance: dict[str, Any]

    def ratios(self, baseline: str, reference: str) -> Spread:
        """Times as long as the reference, each round compared with itself."""
        pairs = zip(self.seconds[baseline], self.seconds[reference], strict=True)
        return spread([own / other for own, other in pairs])

    def samples_per_second(self, baseline: str) -> float:
        return self.batch_size / median(self.seconds[baseline])

    def arithmetic_floor(self, baseline: str) -> float:
        """Seconds that a step's matrix products would take at the measured peak."""
        return self.step_flops / self.flops[self.resource[baseline]]

    def bytes_floor(self, baseline: str) -> float:
        """Seconds that a step's bytes would take as fast as a large copy's."""
        return self.step_bytes / self.copied[self.resource[baseline]]

    def share_of_peak(self, baseline: str) -> float:
        return self.arithmetic_floor(baseline) / median(self.seconds[baseline])
