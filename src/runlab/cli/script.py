"""What every script runs in, whatever it does."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from runlab import console
from runlab.cli import streams
from runlab.cli.interrupt import code_of_signal
from runlab.runs.signals import exit_on_signals


@contextmanager
def script() -> Iterator[None]:
    """Ends the process with one sentence and exit code 1 at a user's mistake, at Ctrl-C with 130.

    What is printed can be printed anywhere, and a request to end lets the process clean up.
    """
    streams.prepare()
    try:
        with exit_on_signals():
            yield
    except (KeyboardInterrupt, SystemExit) as stop:
        if not (code := code_of_signal(stop)):
            raise
        sys.exit(code)
    except Exception as error:
        from runlab.config.messages import is_user_error, user_message  # Hydra: 0.2 s

        if not is_user_error(error):
            raise
        sys.exit(console.failure(user_message(error)))
