"""Signals that ask a process to end, all of which let it clean up and record its runs."""

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

Handler = Callable[[int, FrameType | None], Any]

REQUESTS_TO_END = ("SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2")
"""Schedulers announce the end of a job by the last two. Windows has the first alone."""


@contextmanager
def exit_on_signals() -> Iterator[None]:
    """Has a request to end, or a closed terminal, stop what runs as Ctrl-C does.

    A handler that is there already, such as a scheduler's, stays in charge; what it raises is known
    by `came_by_signal`.
    """
    numbers = [getattr(signal, name) for name in REQUESTS_TO_END if hasattr(signal, name)]
    before = {number: signal.getsignal(number) for number in numbers}
    if threading.current_thread() is not threading.main_thread():
        before = {}  # Python's signals come to the main thread alone
    for number, handler in before.items():
        if handler is signal.SIG_DFL:  # nohup ignores SIGHUP
            signal.signal(number, stop)
        elif callable(handler):
            signal.signal(number, marking(handler))
    try:
        yield
    finally:
        for number, handler in before.items():
            if handler is not None:  # None: one that is not Python's, which was left alone
                signal.signal(number, handler)


def stop(number: int, frame: FrameType | None) -> None:
    sys.exit(128 + number)


def marking(handler: Handler) -> Handler:
    """The handler; whatever it raises says that it came by a signal."""

    def handle(number: int, frame: FrameType | None) -> None:
        try:
            handler(number, frame)
        except BaseException as error:
            error.runlab_signal = number  # type: ignore[attr-defined]
            raise

    return handle


def came_by_signal(error: BaseException) -> bool:
    """Whether something outside stopped the process, rather than an error in what it does."""
    # Lightning turns Ctrl-C and SIGTERM into SystemExit
    return isinstance(error, KeyboardInterrupt | SystemExit) or hasattr(error, "runlab_signal")
