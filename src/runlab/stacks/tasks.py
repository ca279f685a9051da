"""Tasks that run cooperatively: each has a thread of its own, and one of them runs at a time."""

import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from types import FrameType
from typing import Any, Generic, TypeVar

from runlab.runs.signals import REQUESTS_TO_END, Handler, marking
from runlab.stacks.process_state import ProcessState

T = TypeVar("T")

SIGNALS = ("SIGINT", *REQUESTS_TO_END)

_current: ContextVar["Task[Any] | None"] = ContextVar("task", default=None)


class Task(Generic[T]):
    """One of several tasks. `wait` is the only place where it lets the others run.

    Attributes:
        request: what the task waits for, if it waits.
        outcome: what the task returned or raised, once it has ended.
        process_state: of the process, while this task runs.
    """

    outcome: T | BaseException

    def __init__(self, function: Callable[[], T]) -> None:
        self.function = function
        self.request: Any = None
        self.ended = False
        self.stop: BaseException | None = None
        self.process_state = ProcessState()
        self.resumed, self.paused = threading.Semaphore(0), threading.Semaphore(0)
        self.thread = threading.Thread(target=self.run, daemon=True)

    def run(self) -> None:
        self.resumed.acquire()
        _current.set(self)
        try:
            self.outcome = self.function()
        except BaseException as error:
            self.outcome = error
        self.ended = True
        self.paused.release()

    def wait(self, request: Any) -> None:
        """Called by the task: returns once what it requests has been done.

        Raises:
            SystemExit: if the tasks are stopped instead.
        """
        self.request = request
        self.paused.release()
        self.resumed.acquire()
        self.request = None
        if self.stop is not None:
            raise self.stop

    def resume(self) -> None:
        """Lets the task run until it waits for something, or ends."""
        if self.thread.ident is None:
            self.thread.start()
        with self.process_state.active():
            self.resumed.release()
            self.paused.acquire()
        if self.ended:
            self.thread.join()

    def end(self, stop: BaseException) -> None:
        """Raises what stopped the others in this task too, wherever it is."""
        if self.thread.ident is None:
            self.outcome, self.ended = stop, True
        self.stop = as_exit(stop)
        while not self.ended:
            self.resume()


def current_task() -> Task[Any] | None:
    """The task that this is called from; None outside of `run_cooperatively`."""
    return _current.get()


def run_cooperatively(
    functions: Sequence[Callable[[], T]],
    compute: Callable[[Sequence[Task[T]], Callable[[], None]], None],
) -> list[T | Exception]:
    """What each function returned, or the exception that ended it: the others go on.

    Whenever each living task waits for something, `compute(tasks, check)` does all of it, in this
    thread. What stops the process (Ctrl-C, a request to end, SystemExit in a task) is raised in
    every task, then here; in `compute` that may happen where it calls `check`.
    """
    tasks = [Task(function) for function in functions]
    with defer_signals() as check:
        try:
            running = tasks
            while running:
                for task in running:
                    task.resume()
                    check()
                    if task.ended and not is_outcome(task.outcome):
                        raise task.outcome  # type: ignore[misc]
                running = [task for task in running if not task.ended]
                if running:
                    compute(running, check)
        except BaseException as stop:
            for task in tasks:
                task.end(stop)
            raise
    return [task.outcome for task in tasks]  # type: ignore[misc]


def is_outcome(value: object) -> bool:
    return isinstance(value, Exception) or not isinstance(value, BaseException)


def as_exit(stop: BaseException) -> BaseException:
    """KeyboardInterrupt as SystemExit: what Lightning does for the former works in no thread."""
    if isinstance(stop, KeyboardInterrupt):
        return SystemExit(128 + signal.SIGINT)
    return SystemExit(stop.code) if isinstance(stop, SystemExit) else stop


@contextmanager
def defer_signals() -> Iterator[Callable[[], None]]:
    """Holds signals back; yields a function that handles one that has come meanwhile.

    Otherwise Python would raise KeyboardInterrupt between any two instructions of this thread.
    """
    pending: list[tuple[Handler, int]] = []

    def check() -> None:
        handler = None
        with suppress(IndexError):  # nothing came, or another thread deals with it
            handler, number = pending.pop(0)
        if handler is not None:
            handler(number, None)

    def deferred(handler: Handler) -> Handler:
        def later(number: int, frame: FrameType | None) -> None:
            if pending:
                handler(number, frame)  # asked for twice: wherever this thread is
            pending.append((handler, number))

        return later

    numbers = [getattr(signal, name) for name in SIGNALS if hasattr(signal, name)]
    before = {number: signal.getsignal(number) for number in numbers}
    if threading.current_thread() is not threading.main_thread():
        before = {}  # Python's signals come to the main thread alone
    for number, handler in before.items():
        if callable(handler):
            signal.signal(number, deferred(marking(handler)))
    try:
        yield check
    finally:
        for number, handler in before.items():
            if handler is not None:  # None: one that is not Python's, which was left alone
                signal.signal(number, handler)
    check()
