"""Ctrl-C and other requests to end, answered at once, whatever the process is in the middle of."""

import multiprocessing
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from runlab.runs.signals import REQUESTS_TO_END

REPEATED = 0.5
"""Seconds within which a second Ctrl-C is the first one, which something has passed on as well."""

_answering = False


@contextmanager
def answered(sentence: Callable[[], str]) -> Iterator[None]:
    """Prints the sentence on standard error when a signal comes; a second Ctrl-C ends the process.

    Python's handlers wait for what runs in C, such as a step, and for the end of a stack's block; a
    thread that reads the signals' numbers does not. The second Ctrl-C also kills the processes that
    train for this one. It is to runs what a power cut is: they go on from their last checkpoint.
    """
    global _answering
    if threading.current_thread() is not threading.main_thread():
        yield  # Python's signals come to the main thread alone
        return
    reader, writer = socket.socketpair()
    writer.setblocking(False)
    before = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    thread = threading.Thread(target=answer, args=(reader, sentence), daemon=True)
    thread.start()
    _answering = True
    try:
        yield
    finally:
        _answering = False
        signal.set_wakeup_fd(before)
        writer.shutdown(socket.SHUT_WR)  # ends the thread, also where a fork has the writer too
        thread.join()
        reader.close()
        writer.close()


def answer(reader: socket.socket, sentence: Callable[[], str]) -> None:
    asked_to_end = {getattr(signal, name, None) for name in ("SIGINT", *REQUESTS_TO_END)}
    first = None
    while numbers := reader.recv(1):
        if numbers[0] not in asked_to_end:
            continue
        if first is None:
            first = time.monotonic()
            say(sentence())
        elif numbers[0] == signal.SIGINT and time.monotonic() > first + REPEATED:
            for child in multiprocessing.active_children():
                child.kill()
            os._exit(128 + signal.SIGINT)


def say(sentence: str) -> None:
    """A line of its own, also beside a progress bar; the stream itself may be in use."""
    text = f"\n{sentence}\n" if sys.stderr.isatty() else f"{sentence}\n"
    with suppress(OSError):
        os.write(2, text.encode(sys.stderr.encoding or "ascii", sys.stderr.errors or "replace"))


def leave_to_the_parent() -> None:
    if _answering:  # else a fork, such as a DataLoader's worker, would tell of signals of its own
        signal.set_wakeup_fd(-1)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=leave_to_the_parent)


def code_of_signal(stop: BaseException) -> int:
    """128 and the number of the signal that ended the process; 0 if none did."""
    if not isinstance(stop, KeyboardInterrupt | SystemExit):
        return 0
    causes = (stop, stop.__context__)  # Lightning turns Ctrl-C into SystemExit
    if any(isinstance(each, KeyboardInterrupt) for each in causes):
        return 128 + signal.SIGINT
    code = stop.code if isinstance(stop, SystemExit) else None
    return code if isinstance(code, int) and code > 128 else 0
