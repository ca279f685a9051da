"""Signals, put off to moments at which they can be dealt with."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

Handler = Callable[[int, FrameType | None], Any]
NAMES = ("SIGINT", "SIGTERM", "SIGHUP")


@contextmanager
def put_off() -> Iterator[Callable[[], None]]:
    """Yields what lets a signal that came meanwhile do what it would have done at once.

    Otherwise Python would raise KeyboardInterrupt between any two instructions of this thread.
    """
    came: list[tuple[Handler, int]] = []

    def let_through() -> None:
        handler = None
        with suppress(IndexError):  # nothing came, or another thread deals with it
            handler, number = came.pop(0)
        if handler is not None:
            handler(number, None)

    def keep(handler: Handler) -> Handler:
        def later(number: int, frame: FrameType | None) -> None:
            if came:
                handler(number, frame)  # asked for twice: wherever this thread is
            came.append((handler, number))

        return later

    numbers = [getattr(signal, name) for name in NAMES if hasattr(signal, name)]
    before = {number: signal.getsignal(number) for number in numbers}
    if threading.current_thread() is not threading.main_thread():
        before = {}  # Python's signals come to the main thread alone
    for number, handler in before.items():
        if callable(handler):
            signal.signal(number, keep(handler))
    try:
        yield let_through
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    let_through()
