"""How each number is come by, in words; beside the tables and figures wherever they are shown."""

from runlab.analysis.comparison import Comparison
from runlab.analysis.formatting import with_unit
from runlab.analysis.learning_rates import Rate, with_rate
from runlab.analysis.statistics import RESAMPLES
from runlab.measure import Measure

INTERVALS = "Intervals are Student's 95% intervals over seeds, sd is over seeds"
CHOICE = (
    "The {title} of each arm is chosen on validation, by the mean over seeds, of equal ones the "
    "smaller, among those with at least half as many runs as its fullest; test results are those "
    "of that choice. "
)
BAD_ENDS = (
    "Of a run that diverged a loss or metric is not finite; one that collapsed ended no better "
    "than a guess, or lost most of what it had learned. Both count as the others do, with what "
    "their best weights reach."
)
COST = (
    "Wall time of a run and training throughput, means over {whose} runs. Of runs that "
    "trained together as a stack: the stack's time divided by its runs, and one run's throughput."
)
NOT_KEPT = "Not known: the runs kept no curves.csv (callback.curves)."


def arms(measure: Measure, rate: Rate | None) -> str:
    samples = (
        "; `samples` is the half-width of the 95% binomial interval that the finite test set adds"
    )
    tail = samples if measure.proportion else ""
    return f"{with_rate(rate, CHOICE)}{INTERVALS}{tail}. {BAD_ENDS}"


def naive_title(rate: Rate) -> str:
    return f"Naive: the same {rate.title} for all arms"


def naive(rate: Rate) -> str:
    which = "a rate" if rate.is_learning_rate else "it"
    return (
        f"Naive: both arms at the same {rate.title}, tuned for neither. It says which arm {which} "
        "happens to suit, not which arm is better."
    )


def sensitivity(rate: Rate) -> str:
    what = "rate" if rate.is_learning_rate else "value"
    return (
        f"How well each arm does at each {rate.title} on validation. A flat top forgives a badly "
        f"chosen {what}; runs that diverged or collapsed are counted in their cell."
    )


def cells(rate: Rate | None) -> str:
    chosen = (
        "; the chosen {title} is bold. Test results support a conclusion at the chosen {title} only"
    )
    return f"Mean ± sd over seeds{with_rate(rate, chosen)}."


def cost(rate: Rate | None) -> str:
    return COST.format(whose="its" if rate is None else "the chosen cell's")


def repeatable(rate: Rate | None) -> str:
    return (
        "Resamples draw as many seeds as there are, with replacement and the same for all arms. "
        f"Each {with_rate(rate, 'chooses every {title} anew and ')}concludes by the same rule. "
        "With few seeds the shares themselves are rough."
    )


def chosen_anew(rate: Rate | None) -> str:
    return with_rate(
        rate,
        "How often resamples of the seeds choose which {title}, and what another choice brings",
    )


def speed(measure: Measure) -> str:
    return (
        f"Epochs to a validation {measure.title}, median [lowest, highest] over seeds, and how "
        "many got there; `never` is a run that had not reached it when training ended (censored)."
    )


def threshold(value: float, measure: Measure) -> str:
    """`95%`, `0.5 m`"""
    return with_unit(f"{value:g}", measure.unit)


def tolerance(measure: Measure) -> str:
    """`0.5 points`"""
    return f"{measure.tolerance:g} {measure.difference_unit}".rstrip()


def differences(comparison: Comparison) -> str:
    return (
        "First arm minus second on the test set, over the seeds that both ran"
        f"{with_rate(comparison.rate, ', each at its chosen {title}')}, for arms that differ in "
        "one setting. [95%]: Student's interval of the mean "
        "paired difference, not corrected for the number of rows. p is two-sided, from a "
        "permutation test that flips the signs of the paired differences (every flip up to 13 "
        f"pairs, beyond that {RESAMPLES:,} from a fixed seed). {_equivalence(comparison)} Holm "
        "corrects each kind of p over the rows of this table. Seeds × samples: the 95% interval "
        "over seeds and test samples at once, as if both were drawn anew (two-way analysis of "
        "variance with random effects, Satterthwaite's degrees of freedom; from 6 pairs on). With "
        "few seeds it may be the narrower one, since thousands of samples tell how much chance "
        "varies. P(first better): share of seeds, ties half, with Wilson's interval."
    )


def _equivalence(comparison: Comparison) -> str:
    margin, unit = comparison.margin, f" {comparison.measure.difference_unit}".rstrip()
    if margin is None:
        return "No margin was declared (comparison.margin), so equivalence is not tested."
    return (
        f"Equivalent: two one-sided t tests (TOST) against a margin of ±{margin:g}{unit}; at 5% "
        f"they agree with the 90% interval lying within it. The margin: {comparison.margin_origin}."
    )
