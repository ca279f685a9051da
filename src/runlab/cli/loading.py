"""A sign of life while PyTorch is imported, which takes seconds."""

import multiprocessing
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from runlab import program


@contextmanager
def loading() -> Iterator[None]:
    """Says on standard error that PyTorch is loaded, unless it is; on a terminal, until it is."""
    if "torch" in sys.modules or multiprocessing.parent_process() is not None:
        yield
        return
    text, is_terminal = f"{program.name()}: loading PyTorch …", sys.stderr.isatty()
    with ended_by_ctrl_c():
        print(text, end="" if is_terminal else "\n", file=sys.stderr, flush=True)
        yield
    if is_terminal:
        print(f"\r{' ' * len(text)}\r", end="", file=sys.stderr, flush=True)


@contextmanager
def ended_by_ctrl_c() -> Iterator[None]:
    """Ctrl-C ends the process at once, without a traceback: where nothing is being written.

    Raised within an import, KeyboardInterrupt is often taken for an error of what is imported.
    """
    is_default = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if not is_default or threading.current_thread() is not threading.main_thread():
        yield
        return
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
