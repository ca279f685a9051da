"""Tasks that take turns: each in a thread of its own, of which only one moves at any time."""

import signal
import threading
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from typing import Any, Generic, TypeVar

from runlab.stacks.process_state import Surroundings
from runlab.stacks.signals import put_off

T = TypeVar("T")
_current: ContextVar["Turn[Any] | None"] = ContextVar("turn", default=None)


class Turn(Generic[T]):
    """One task among several. `ask` is the only place where it lets the others move.

    Attributes:
        turns: all that are together, this one among them.
        asked: what the task waits for, if it waits.
        outcome: what the task returned or raised, once it has ended.
        surroundings: what is global to the process is the task's own while it moves.
    """

    outcome: T | BaseException

    def __init__(self, task: Callable[[], T], turns: Sequence["Turn[T]"]) -> None:
        self.task, self.turns = task, turns
        self.asked: Any = None
        self.ended = False
        self.stop: BaseException | None = None
        self.surroundings = Surroundings()
        self.go, self.back = threading.Semaphore(0), threading.Semaphore(0)
        self.thread = threading.Thread(target=self.run, daemon=True)

    @property
    def living(self) -> list["Turn[T]"]:
        return [turn for turn in self.turns if not turn.ended]

    @property
    def leads(self) -> bool:
        """Whether it is the one that may show how far all are, the first of those that go on."""
        return self.living[0] is self

    @property
    def others(self) -> int:
        """How many go on beside it."""
        return len(self.living) - 1

    def run(self) -> None:
        self.go.acquire()
        _current.set(self)
        try:
            self.outcome = self.task()
        except BaseException as error:
            self.outcome = error
        self.ended = True
        self.back.release()

    def ask(self, request: Any) -> None:
        """Called by the task: returns once what it asks for has been done.

        Raises:
            SystemExit: if the tasks are stopped instead.
        """
        self.asked = request
        self.back.release()
        self.go.acquire()
        self.asked = None
        if self.stop is not None:
            raise self.stop

    def move(self) -> None:
        """Has the task go on until it asks for something, or ends."""
        if self.thread.ident is None:
            self.thread.start()
        with self.surroundings.entered():
            self.go.release()
            self.back.acquire()
        if self.ended:
            self.thread.join()

    def end(self, stop: BaseException) -> None:
        """Raises what stopped the others in this task too, wherever it is."""
        if self.thread.ident is None:
            self.outcome, self.ended = stop, True
        self.stop = as_exit(stop)
        while not self.ended:
            self.move()


def current() -> Turn[Any] | None:
    """The task that this is called from; None outside of `together`."""
    return _current.get()


def together(
    tasks: Sequence[Callable[[], T]],
    compute: Callable[[Sequence[Turn[T]], Callable[[], None]], None],
) -> list[T | Exception]:
    """What each task returned, or the exception that ended it: the others go on.

    Whenever each living task has asked for something, `compute(turns, check)` does all of it, in
    this thread. What stops the process (Ctrl-C, a request to end, SystemExit in a task) is raised
    in every task, then here; in `compute` that may happen where it calls `check`.
    """
    turns: list[Turn[T]] = []
    turns.extend(Turn(task, turns) for task in tasks)
    with put_off() as check:
        try:
            moved = turns
            while moved:
                for turn in moved:
                    turn.move()
                    check()
                    if turn.ended and not is_outcome(turn.outcome):
                        raise turn.outcome  # type: ignore[misc]
                moved = [turn for turn in moved if not turn.ended]
                if moved:
                    compute(moved, check)
        except BaseException as stop:
            for turn in turns:
                turn.end(stop)
            raise
    return [turn.outcome for turn in turns]  # type: ignore[misc]


def is_outcome(value: object) -> bool:
    return isinstance(value, Exception) or not isinstance(value, BaseException)


def as_exit(stop: BaseException) -> BaseException:
    """KeyboardInterrupt as SystemExit: what Lightning does for the former works in no thread."""
    if isinstance(stop, KeyboardInterrupt):
        return SystemExit(128 + signal.SIGINT)
    return SystemExit(stop.code) if isinstance(stop, SystemExit) else stop
