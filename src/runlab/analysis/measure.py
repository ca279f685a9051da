"""What is compared: a metric, its unit, and which of two values is the better one."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Measure:
    """`scale` is what recorded values are multiplied by to be in `unit`."""

    name: str
    title: str
    unit: str = ""
    difference_unit: str = ""
    scale: float = 1.0
    higher_is_better: bool = False
    digits: int = 4

    def axis(self, split: str) -> str:
        """As in `validation accuracy, %` or `test NLL`."""
        return f"{split} {self.title}" + (f", {self.unit}" if self.unit else "")


ACCURACY = Measure("accuracy", "accuracy", "%", "points", 100.0, higher_is_better=True, digits=2)

MEASURES = {
    measure.name: measure
    for measure in (
        ACCURACY,
        Measure("nll", "NLL"),
        Measure("brier", "Brier score"),
        Measure("ece", "ECE"),
        Measure("loss", "loss"),
    )
}
