"""How each run of a stack takes its steps, and how all of them are started."""

import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from jaxtyping import Float
from torch import Tensor

from runlab.module import Module, stack_of_run
from runlab.stacks.scheduler import Scheduler
from runlab.stacks.step_request import StepRequest
from runlab.stacks.tasks import Task, current_task, run_cooperatively

T = TypeVar("T")


class SharedSteps:
    """Takes the steps of a run's block together with those of other runs.

    Attributes:
        largest: the largest number of runs, this one included, that a block was computed for.
        seconds_of_others: spent waiting for the others before blocks that it then took alone.
    """

    def __init__(self, task: Task[Any]) -> None:
        self.task = task
        self.largest = 1
        self.seconds_of_others = 0.0

    def __deepcopy__(self, memo: dict[int, Any]) -> None:
        """A copy of a module trains alone: it is another module, with another optimizer."""
        return

    def __call__(self, module: Module, batches: Any) -> tuple[Float[Tensor, " steps"], Any]:
        request = StepRequest(module, batches)
        started = time.perf_counter()
        self.task.wait(request)
        if request.error is not None:
            raise request.error
        if request.result is None:
            self.seconds_of_others += time.perf_counter() - started
            return module.take_steps(batches)
        self.largest = max(self.largest, request.runs)
        return request.result


def train_together(
    runs: Sequence[Callable[[], T]],
    size: int,
    backend: str | None = None,
    threads: int | None = None,
) -> list[T | Exception]:
    """What each run returned or raised.

    Args:
        runs: functions that train. Each gets a thread of its own, of which one runs at a time.
        size: the most runs that are computed at once.
        backend: of `torch.compile`, for their common steps; None compiles nothing.
        threads: of the CPU to compute on; None takes one for each core.
    """
    tasks = [in_stack(run) for run in runs]
    return run_cooperatively(tasks, Scheduler(size, backend, threads).compute)


def in_stack(run: Callable[[], T]) -> Callable[[], T]:
    """The run as a task: its module finds in `stack_of_run` that it shares its steps."""

    def task() -> T:
        current = current_task()
        assert current is not None
        stack_of_run.set(SharedSteps(current))  # in this thread's context alone
        return run()

    return task
