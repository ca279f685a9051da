"""What a process that trains has to know of the command that launched its runs."""

import os
from contextlib import suppress
from typing import Any

from runlab import program
from runlab.config.run_name import LAUNCH, SWEEP_SIZE, SWEPT_KEYS

CARRIED = (SWEEP_SIZE, SWEPT_KEYS, LAUNCH, program.VARIABLE)


class Environment:
    """The working directory and the variables by which runs know their place in the sweep.

    It is pickled with the task, and read where that is loaded. Processes that the command starts
    inherit both; a worker of Ray, which was there before, has neither.
    """

    def __getstate__(self) -> dict[str, Any]:
        variables = {name: os.environ[name] for name in CARRIED if name in os.environ}
        return {"folder": os.getcwd(), "variables": variables}

    def __setstate__(self, state: dict[str, Any]) -> None:
        for name in CARRIED:
            os.environ.pop(name, None)
        os.environ.update(state["variables"])
        with suppress(OSError):  # this machine lacks it, so paths have to be absolute
            os.chdir(state["folder"])
