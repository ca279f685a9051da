"""What ended a run before its time, and whether it is to blame for that."""

import errno
import logging
import traceback
from pathlib import Path
from typing import Any

from runlab.config.messages import user_message
from runlab.module import StackDifferenceError
from runlab.runs import record

log = logging.getLogger(__name__)

MACHINE_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.ESTALE)
"""Errors of the operating system for which no run is to blame: a full disk, one that went away."""


def root_cause(error: BaseException, folder: Path) -> BaseException:
    """What stopped a run, where the error that came out of it hides that.

    A DataLoader's workers, stopped by the same signal, raise while the process is being stopped.
    A full disk has the run's folder as its place where the operating system names none.
    """
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, KeyboardInterrupt | SystemExit):
            return error if isinstance(error, KeyboardInterrupt | SystemExit) else seen
        seen = seen.__context__
    if isinstance(error, OSError) and error.errno in MACHINE_ERRORS and error.filename is None:
        return OSError(error.errno, error.strerror, str(folder))
    return error


def record_failure(folder: Path, entry: dict[str, Any], error: BaseException) -> None:
    """Records a run that `error` ended: it was stopped, or something in it is wrong."""
    of_machine = isinstance(error, OSError) and error.errno in MACHINE_ERRORS
    # Lightning turns Ctrl-C and SIGTERM into SystemExit
    stopped = of_machine or isinstance(error, KeyboardInterrupt | SystemExit)
    entry["status"] = "interrupted" if stopped else "failed"
    if isinstance(error, StackDifferenceError):
        entry["from_start"] = True  # its checkpoints hold wrong weights
    try:
        if isinstance(error, Exception):
            entry["error"] = user_message(error)
            (folder / "traceback.txt").write_text("".join(traceback.format_exception(error)))
        record.write(folder, entry)
    except OSError as full:  # without the lock, `running` means interrupted too
        log.warning("%s: cannot record that it %s: %s", folder.name, entry["status"], full)
