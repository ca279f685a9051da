"""What ended a run before its time, and whether it is to blame for that."""

import errno
import logging
import traceback
from pathlib import Path
from typing import Any

from runlab.config.messages import user_message
from runlab.module import StackDifferenceError
from runlab.runs import record
from runlab.runs.signals import came_by_signal

log = logging.getLogger(__name__)

MACHINE_ERRORS = (
    *(errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.ESTALE),
    *(errno.ETIMEDOUT, errno.ENOMEM),
)
"""Errors of the operating system for which no run is to blame: a full disk, one that went
away, a lock that another process does not give back, too little memory."""


def root_cause(error: BaseException, folder: Path) -> BaseException:
    """What stopped a run, where the error that came out of it hides that.

    A DataLoader's workers, stopped by the same signal, raise while the process is being stopped.
    A full disk has the run's folder as its place where the operating system names none.
    """
    seen: BaseException | None = error
    while seen is not None:
        if came_by_signal(seen):
            return error if came_by_signal(error) else seen
        seen = seen.__context__
    if isinstance(error, OSError) and error.errno in MACHINE_ERRORS and error.filename is None:
        return OSError(error.errno, error.strerror, str(folder))
    return error


def record_failure(folder: Path, entry: dict[str, Any], error: BaseException) -> None:
    """Records a run that `error` ended: it was stopped, or something in it is wrong."""
    of_machine = isinstance(error, OSError) and error.errno in MACHINE_ERRORS
    stopped = of_machine or came_by_signal(error)
    entry["status"] = "interrupted" if stopped else "failed"
    if isinstance(error, StackDifferenceError):
        entry["from_start"] = True  # its checkpoints hold wrong weights
    try:
        if isinstance(error, Exception):
            entry["error"] = user_message(error)
            (folder / "traceback.txt").write_text(
                "".join(traceback.format_exception(error)), encoding="utf-8"
            )
        record.write(folder, entry)
    except OSError as full:  # without the lock, `running` means interrupted too
        log.warning("%s: cannot record that it %s: %s", folder.name, entry["status"], full)
