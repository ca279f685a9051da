from dataclasses import dataclass
from statistics import median
from typing import Any, NamedTuple


class Spread(NamedTuple):
    median: float
    least: float
    most: float


def spread(values: list[float]) -> Spread:
    return Spread(median(values), min(values), max(values))


@dataclass
class Results:
    """What was measured. Lists hold one number a round; the first contestant is the bare loop.

    Args:
        seconds: per optimizer step, by contestant.
        peaks: floating-point operations a second of a large matrix product, by its name.
        peak_of: the name of the peak that a contestant's training cannot exceed.
        outside_training: seconds of each of losslab's runs that are not in `seconds`.
        startups: seconds of each fresh process, by stage.
        settings: what was trained, and where, in words.
    """

    descriptions: dict[str, str]
    seconds: dict[str, list[float]]
    rounds: int
    steps: int
    batch_size: int
    step_flops: int
    peaks: dict[str, float]
    peak_of: dict[str, str]
    outside_training: list[float]
    startups: list[dict[str, float]]
    settings: dict[str, Any]
    provenance: dict[str, Any]

    def ratios(self, contestant: str, baseline: str) -> Spread:
        """Times as long as the baseline, each round compared with itself."""
        pairs = zip(self.seconds[contestant], self.seconds[baseline], strict=True)
        return spread([seconds / reference for seconds, reference in pairs])

    def images_per_second(self, contestant: str) -> float:
        return self.batch_size / median(self.seconds[contestant])

    def floor(self, contestant: str) -> float:
        """Seconds that a step's matrix products would take at the measured peak."""
        return self.step_flops / self.peaks[self.peak_of[contestant]]

    def share_of_peak(self, contestant: str) -> float:
        return self.floor(contestant) / median(self.seconds[contestant])
