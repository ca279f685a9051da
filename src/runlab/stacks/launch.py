import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from jaxtyping import Float, Int, Num
from torch import Tensor

from losslab.classifier import Classifier
from runlab.stacks import tasks
from runlab.stacks.scheduler import Stacks
from runlab.stacks.step_request import Block

T = TypeVar("T")


class StackedSteps:
    """How a run that is one of several takes the steps of a block.

    Attributes:
        shared: the largest number of runs, this one included, that a block was computed for.
        elsewhere: seconds in which only the others moved, before blocks that it took alone.
    """

    def __init__(self, turn: tasks.Turn[Any]) -> None:
        self.turn = turn
        self.shared = 1
        self.elsewhere = 0.0

    @property
    def label(self) -> str | None:
        """What the bar of all that train together adds to this run's name; None: it is not this."""
        if not self.turn.leads:
            return None
        return f" and {self.turn.others} more" if self.turn.others else ""

    def __call__(
        self,
        classifier: Classifier,
        images: Num[Tensor, "steps batch ..."],
        labels: Int[Tensor, "steps batch"],
    ) -> tuple[Float[Tensor, " steps"], Float[Tensor, "batch classes"]]:
        block = Block(classifier, images, labels)
        asked = time.perf_counter()
        self.turn.ask(block)
        if block.error is not None:
            raise block.error
        if block.taken is None:
            self.elsewhere += time.perf_counter() - asked
            return classifier.take_steps(images, labels)
        self.shared = max(self.shared, block.shared)
        return block.taken


def current() -> StackedSteps | None:
    """For the run that this is called from; None for a run of its own."""
    turn = tasks.current()
    return None if turn is None else StackedSteps(turn)


def train_together(
    runs: Sequence[Callable[[], T]],
    size: int,
    backend: str | None = None,
    threads: int | None = None,
) -> list[T | Exception]:
    """What each run returned or raised; at most `size` of them are computed at once.

    Each is a function that trains, in a thread of its own and by turns. Their common steps are
    compiled by `torch.compile` if it is given a backend, and computed, on a CPU, by so many
    threads, one for each core by default.
    """
    return tasks.together(runs, Stacks(size, backend, threads).compute)
