"""How each number is come by, in words; beside the tables and figures wherever they are shown."""

from runlab.analysis.comparison import Comparison
from runlab.analysis.formatting import with_unit
from runlab.analysis.statistics import RESAMPLES
from runlab.measure import Measure

ARMS = (
    "The learning rate of each arm is chosen on validation, by the mean over seeds, of equal ones "
    "the smaller, among those with at least half as many runs as its fullest; test results are "
    "those of that choice. Intervals are Student's 95% intervals over seeds, sd is over seeds"
)
BAD_ENDS = (
    "Of a run that diverged a loss or metric is not finite; one that collapsed ended no better "
    "than a guess, or lost most of what it had learned. Both count as the others do, with what "
    "their best weights reach."
)
NAIVE = (
    "Naive: both arms at the same learning rate, tuned for neither. It says which arm a rate "
    "happens to suit, not which arm is better."
)
CELLS = (
    "Mean ± sd over seeds; the chosen learning rate is bold. Test results support a conclusion at "
    "the chosen learning rate only."
)
SENSITIVITY = (
    "How well each arm does at each learning rate on validation. A flat top forgives a badly "
    "chosen rate; runs that diverged or collapsed are counted in their cell."
)
COST = (
    "Wall time of a run and training throughput, means over the chosen cell's runs. Of runs that "
    "trained together as a stack: the stack's time divided by its runs, and one run's throughput."
)
REPEATABLE = (
    "Resamples draw as many seeds as there are, with replacement and the same for all arms. Each "
    "chooses every learning rate anew and concludes by the same rule. With few seeds the shares "
    "themselves are rough."
)
CHOSEN_ANEW = (
    "How often resamples of the seeds choose which learning rate, and what another choice brings"
)
NOT_KEPT = "Not known: the runs kept no curves.csv (callback.curves)."


def arms(measure: Measure) -> str:
    samples = (
        "; `samples` is the half-width of the 95% binomial interval that the finite test set adds"
    )
    return f"{ARMS}{samples if measure.proportion else ''}. {BAD_ENDS}"


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
        "First arm minus second on the test set, over the seeds that both ran, each at its chosen "
        "learning rate, for arms that differ in one setting. [95%]: Student's interval of the mean "
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
