"""What the scripts share: Hydra's entry point, with a user's mistakes as one sentence each."""

import functools
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import DictConfig

from runlab import console
from runlab.cli import streams
from runlab.config.arguments import flags_first, left_to_runs, quoted, require_choices
from runlab.config.messages import is_user_error, user_message
from runlab.config.run_name import is_multirun
from runlab.runs import lock, record
from runlab.runs.signals import exit_on_signals
from runlab.sweeps.callback import SweepCallback


def main(
    task: Callable[[DictConfig], Any],
    config_name: str,
    config_dir: Path,
    paths: Sequence[str] = ("data_dir",),
) -> None:
    """Runs `task(cfg)` under Hydra; after a multirun, whole or partial, prints its comparison.

    Args:
        config_name: of the configuration's file in `config_dir`, without its ending.
        paths: keys whose values may hold what Hydra's grammar reserves, as runs' names do.

    A user's mistake ends the process with one sentence and exit code 1; with HYDRA_FULL_ERROR=1
    it comes with its traceback.
    """
    streams.prepare()
    sys.argv[1:] = flags_first(quoted(sys.argv[1:], paths))
    SweepCallback.folder = None
    failures: list[str] = []
    stopped = 0  # exit code, if a signal did it
    threading.excepthook = in_thread
    with full_errors() as wanted_by_user, exit_on_signals():
        try:
            entry = in_any_process(task if wanted_by_user else guarded(task))
            launch(entry, config_name, config_dir)
        except (KeyboardInterrupt, SystemExit) as stop:
            stopped = code_of_signal(stop)
            if not stopped:
                raise
            failures.append("interrupted: the same command goes on with what is left")
        except Exception as error:
            if wanted_by_user or not is_user_error(error):
                raise
            if isinstance(error, OSError) and error.filename is None:
                error.filename = SweepCallback.folder and str(SweepCallback.folder)
            failures.append(user_message(error))
        finally:
            sweep = SweepCallback.folder
            if sweep is not None and any(sweep.glob("*/run.json")):
                lock.mark_dead_runs(sweep)
                if not failures or has_outcome(sweep):  # else what failed has been said
                    failures += conclude(sweep)
            HydraConfig.instance().cfg = None  # the multirun's, which SweepCallback has set
    if stopped:
        print(console.failure("\n".join(failures)), file=sys.stderr)
        sys.exit(stopped)
    if failures:
        sys.exit(console.failure("\n".join(failures)))


def launch(task: Callable[[DictConfig], Any], config_name: str, config_dir: Path) -> None:
    """Runs it under Hydra; once more, where a key is one that swept choices alone may have."""
    require_choices(sys.argv[1:], config_dir)
    start = hydra.main(version_base="1.3", config_path=str(config_dir), config_name=config_name)
    try:
        start(task)()
    except HydraException as error:
        key = getattr(error.__cause__, "full_key", None)
        arguments = left_to_runs(sys.argv[1:], str(key))
        if SweepCallback.folder is not None or arguments == sys.argv[1:]:
            raise
        sys.argv[1:] = arguments
        start(task)()


def in_thread(failure: threading.ExceptHookArgs) -> None:
    """Leaves a full disk to the thread that waits for the writer: it raises the same error."""
    if not isinstance(failure.exc_value, OSError):
        threading.__excepthook__(failure)


def code_of_signal(stop: BaseException) -> int:
    """128 and the number of the signal that ended the process; 0 if none did."""
    causes = (stop, stop.__context__)  # Lightning turns Ctrl-C into SystemExit
    if any(isinstance(each, KeyboardInterrupt) for each in causes):
        return 128 + signal.SIGINT
    code = stop.code if isinstance(stop, SystemExit) else None
    return code if isinstance(code, int) and code > 128 else 0


def in_any_process(task: Callable[[DictConfig], Any]) -> Callable[[DictConfig], Any]:
    """The task, with streams that take what it prints also where a launcher's process runs it."""

    @functools.wraps(task)
    def run(cfg: DictConfig) -> Any:
        streams.prepare()
        return task(cfg)

    return run


def guarded(task: Callable[[DictConfig], Any]) -> Callable[[DictConfig], Any]:
    """The task, which ends a single run at a user's mistake without Hydra's own report of it."""

    @functools.wraps(task)
    def run(cfg: DictConfig) -> Any:
        try:
            return task(cfg)
        except Exception as error:
            if is_multirun() or not is_user_error(error):
                raise  # in a multirun the sweep goes on
            sys.exit(console.failure(user_message(error)))

    return run


@contextmanager
def full_errors() -> Iterator[bool]:
    """Has Hydra raise errors rather than print them; tells whether the user asked for that."""
    before = os.environ.get("HYDRA_FULL_ERROR")
    os.environ["HYDRA_FULL_ERROR"] = "1"
    try:
        yield before == "1"
    finally:
        if before is None:
            del os.environ["HYDRA_FULL_ERROR"]
        else:
            os.environ["HYDRA_FULL_ERROR"] = before


def has_outcome(sweep: Path) -> bool:
    return any(entry["status"] in record.ENDED for _, entry in record.readable(sweep))


def conclude(folder: Path) -> list[str]:
    """Writes and prints a sweep's comparison; returns what stood in its or its outputs' way."""
    # pandas, scipy and matplotlib: a second, needed only now
    from runlab.analysis.rebuild import rebuild
    from runlab.analysis.terminal import print_comparison

    try:
        rebuild(folder, show=print_comparison)
    except (ValueError, OSError) as error:
        return [user_message(error)]
    return []
