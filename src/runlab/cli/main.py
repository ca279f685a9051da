"""What the scripts share: Hydra's entry point, with a user's mistakes as one sentence each."""

import functools
import os
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import hydra
from hydra.core.default_element import InputDefault
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import DictConfig

from runlab import console, program
from runlab.cli import streams
from runlab.cli.interrupt import answered, code_of_signal
from runlab.cli.loading import ended_by_ctrl_c
from runlab.config.arguments import flags_first, left_to_runs, quoted, require_choices
from runlab.config.messages import is_user_error, user_message
from runlab.config.run_name import is_multirun
from runlab.launchers.environment import Environment
from runlab.runs import alike, lock, record
from runlab.runs.signals import exit_on_signals
from runlab.sweeps.callback import SweepCallback
from runlab.text import plural, printable


def main(
    task: Callable[[DictConfig], Any],
    config_name: str,
    config_dir: Path,
    paths: Sequence[str] = ("data_dir",),
) -> None:
    """Runs `task(cfg)` under Hydra; after a multirun, unless a signal ended it, its comparison.

    Args:
        config_name: of the configuration's file in `config_dir`, without its ending.
        paths: keys whose values may hold what Hydra's grammar reserves, as runs' names do.

    A user's mistake ends the process with one sentence and exit code 1; with HYDRA_FULL_ERROR=1
    it comes with its traceback.
    """
    streams.prepare()
    sys.argv[1:] = flags_first(quoted(sys.argv[1:], paths))
    SweepCallback.folder, SweepCallback.has_begun, SweepCallback.detached = None, False, False
    failures: list[str] = []
    threading.excepthook = in_thread
    with full_errors() as wanted_by_user, exit_on_signals(), answered(stopping):
        try:
            entry = in_any_process(task if wanted_by_user else guarded(task))
            failures = launched(entry, config_name, config_dir, wanted_by_user)
        except (KeyboardInterrupt, SystemExit) as stop:
            if not (code := code_of_signal(stop)):
                raise
            print(console.failure(interrupted()), file=sys.stderr)
            sys.exit(code)
        finally:
            HydraConfig.instance().cfg = None  # the multirun's, which SweepCallback has set
    if failures:
        sys.exit(console.failure("\n".join(failures)))


def stopping() -> str:
    return "stopping, saving …" if SweepCallback.has_begun else "stopping …"


def interrupted() -> str:
    """What a signal has left, and how to go on where there is something to go on with."""
    if not SweepCallback.has_begun:
        return "interrupted"
    text, sweep = "interrupted: the same command goes on with what is left", SweepCallback.folder
    if SweepCallback.overwrites:
        text = (
            "interrupted: with overwrite=true the same command starts all over; without it, it "
            "keeps what has ended and goes on with the rest"
        )
    if sweep is None or not sweep.is_dir():
        return text
    lock.mark_dead_runs(sweep)
    ended = sum(entry["status"] in record.ENDED for _, entry in alike.readable(sweep))
    if not ended:
        return text
    command = program.command("compare", os.path.relpath(sweep))
    return f"{text}; {printable(command)} compares what has ended ({plural(ended, 'run')})"


def launched(
    task: Callable[[DictConfig], Any], config_name: str, config_dir: Path, all_errors: bool
) -> list[str]:
    """Runs it, and concludes from its runs unless a signal stopped them; returns what went wrong.

    Raises:
        BaseException: what is no mistake of a user's; with `all_errors` a mistake too.
    """
    try:
        with SweepCallback.started:  # the live line, which ends before anything is concluded
            launch(task, config_name, config_dir)
    except BaseException as error:
        if code_of_signal(error):
            raise
        if all_errors or not is_user_error(error):
            end_sweep()
            raise
        if isinstance(error, OSError) and error.filename is None:
            error.filename = SweepCallback.folder and str(SweepCallback.folder)
        return [user_message(error), *end_sweep(failed=True)]
    return end_sweep()


def end_sweep(failed: bool = False) -> list[str]:
    """Concludes from what the runs of a multirun left; returns what stood in the way."""
    sweep = SweepCallback.folder
    if sweep is None or SweepCallback.detached or not any(sweep.glob("*/run.json")):
        return []
    lock.mark_dead_runs(sweep)
    if failed and not has_outcome(sweep):
        return []  # what failed has been said
    return conclude(sweep)


def launch(task: Callable[[DictConfig], Any], config_name: str, config_dir: Path) -> None:
    """Runs it under Hydra; once more, where a key is one that swept choices alone may have."""
    require_choices(sys.argv[1:], config_dir)
    start = hydra.main(version_base="1.3", config_path=str(config_dir), config_name=config_name)
    try:
        start(task)()
    except RecursionError as error:
        if SweepCallback.has_begun:
            raise
        raise ValueError(
            "expected defaults lists that come to an end, got a file that includes itself, alone "
            f"or by way of another{including(error)}: remove it from its own defaults list"
        ) from error
    except HydraException as error:
        key = getattr(error.__cause__, "full_key", None)
        arguments = left_to_runs(sys.argv[1:], str(key))
        if SweepCallback.folder is not None or arguments == sys.argv[1:]:
            raise
        sys.argv[1:] = arguments
        start(task)()


def including(error: RecursionError) -> str:
    """Which file Hydra was reading again and again, in brackets."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    nodes = [frame.f_locals.get("parent") for frame in frames]
    paths = [each.get_config_path() for each in nodes if isinstance(each, InputDefault)]
    return f" ({paths[-1]}.yaml)" if paths else ""


def in_thread(failure: threading.ExceptHookArgs) -> None:
    """Leaves a full disk to the thread that waits for the writer: it raises the same error."""
    if not isinstance(failure.exc_value, OSError):
        threading.__excepthook__(failure)


def in_any_process(task: Callable[[DictConfig], Any]) -> Callable[[DictConfig], Any]:
    """The task, with what it needs where a launcher's process runs it, on whatever machine.

    That is streams that take what it prints, and the environment of this command.
    """
    environment = Environment()

    @functools.wraps(task)
    def run(cfg: DictConfig) -> Any:
        assert environment  # is pickled with what it is used in
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
    return any(entry["status"] in record.ENDED for _, entry in alike.readable(sweep))


def conclude(folder: Path) -> list[str]:
    """Writes and prints a sweep's comparison; returns what stood in its or its outputs' way."""
    # pandas, scipy and matplotlib: a second, needed only now
    with ended_by_ctrl_c():
        from runlab.analysis.rebuild import rebuild
        from runlab.analysis.terminal import print_comparison

    try:
        rebuild(folder, show=print_comparison)
    except (ValueError, OSError) as error:
        return [user_message(error)]
    return []
