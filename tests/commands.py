"""Commands as a user types them, each in a process of its own that has nothing to import first.

`python tests/commands.py` imports once what the project needs of other packages, and forks for
each command. The project itself is imported by the fork, so that it may be a copy.
"""

import ast
import atexit
import contextlib
import gc
import importlib
import json
import os
import runpy
import select
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
LONGEST = 120.0  # seconds
PACKAGES = ("losslab", "runlab", "hydra_plugins", "tests")
MODULES = (
    *("matplotlib.backends.backend_agg", "matplotlib.backends.backend_svg", "optuna", "pandas"),
    *("scipy.stats", "torch.fx.experimental.proxy_tensor", "torch.utils.tensorboard"),
)
"""What takes long and is imported inside functions, or by packages that Hydra looks for."""


class Process:
    """A running command, with what `subprocess.Popen` has of it."""

    def __init__(self, commands: "Commands", pid: int, output: Path, errors: Path) -> None:
        self.commands, self.pid, self.output, self.errors = commands, pid, output, errors
        self.returncode: int | None = None

    def poll(self) -> int | None:
        if self.returncode is None:
            self.returncode = self.commands.ask("wait", pid=self.pid, seconds=0)
        return self.returncode

    def wait(self, timeout: float = LONGEST) -> int:
        """Returns its exit code, negative for a signal that ended it.

        Raises:
            TimeoutError: if it runs longer; it is killed then.
        """
        if self.returncode is None:
            self.returncode = self.commands.ask("wait", pid=self.pid, seconds=timeout)
        if self.returncode is None:
            self.end()
            said = self.output.read_text() + self.errors.read_text()
            raise TimeoutError(f"expected it to end within {timeout} s:\n{said}")
        return self.returncode

    def send_signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def end(self) -> None:
        """Kills it and all that it started, at once."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        if self.returncode is None:
            self.returncode = self.commands.ask("wait", pid=self.pid, seconds=30)


class Commands:
    """Runs commands, each in a fork of one process that has imported the packages they need."""

    def __enter__(self) -> "Commands":
        self.folder = tempfile.TemporaryDirectory(prefix="commands-")
        self.count = 0
        self.server = subprocess.Popen(
            [sys.executable, __file__], text=True, start_new_session=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        return self

    def __exit__(self, *raised: object) -> None:
        self.server.communicate()  # whose input ends with it
        self.folder.cleanup()

    def run(
        self, folder: Path, *arguments: str, timeout: float = LONGEST, **options: Any
    ) -> subprocess.CompletedProcess[str]:
        """What `python` with these arguments does in this folder; `options` are those of `start`.

        A script is looked for in the project's root.
        """
        process = self.start(folder, *arguments, **options)
        code = process.wait(timeout)
        output, errors = process.output.read_text(), process.errors.read_text()
        return subprocess.CompletedProcess(list(arguments), code, output, errors)

    def start(
        self,
        folder: Path,
        *arguments: str,
        root: Path = ROOT,
        output: Path | None = None,
        environment: Mapping[str, str] | None = None,
        kill: Mapping[str, Any] | None = None,
        fresh_workers: bool = False,
        closed: Sequence[int] = (),
        unread: Sequence[int] = (),
    ) -> Process:
        """Starts it, as the leader of a group of processes.

        Args:
            root: a copy of the project.
            output: what it prints, errors too, is appended to this file.
            environment: what is different in it.
            kill: when it dies, as `tests.runs.kill.Kill` has it.
            fresh_workers: joblib's processes import everything anew, as a user's do, which takes
                ten seconds; otherwise they are forks too.
            closed: the standard streams, by their numbers, that it has not.
            unread: those that are pipes whose reader is gone.
        """
        self.count += 1
        own = Path(self.folder.name) / str(self.count)
        files = [output or own.with_suffix(".out"), output or own.with_suffix(".err")]
        for file in files:
            file.touch()  # so that they can be read before the process has begun
        pid = self.ask(
            "start", folder=str(folder), arguments=arguments, root=str(root),
            files=[str(file.absolute()) for file in files],
            environment=dict(environment or {}), kill=kill, fresh_workers=fresh_workers,
            closed=closed, unread=unread,
        )  # fmt: skip
        return Process(self, pid, *files)

    def ask(self, what: str, **details: Any) -> Any:
        assert self.server.stdin is not None
        assert self.server.stdout is not None
        print(json.dumps([what, details]), file=self.server.stdin, flush=True)
        return json.loads(self.server.stdout.readline())


running: set[int] = set()


def serve() -> None:
    """Answers each line of standard input: a command to start, or a process to wait for."""
    sys.path.remove(str(Path(__file__).parent))
    for name in ("COLUMNS", "LINES"):  # `readline` sets them for processes that it knows nothing of
        os.environ.pop(name, None)
    import_other_packages()
    gc.freeze()  # no fork needs to look through what is here
    with tempfile.TemporaryDirectory() as cache:
        sys.pycache_prefix, sys.dont_write_bytecode = cache, False  # of the project, for all forks
        answer_all()
    os._exit(0)  # to take down modules would take a second


def answer_all() -> None:
    with contextlib.suppress(BrokenPipeError):
        for line in sys.stdin:
            what, details = json.loads(line)
            answer = {"start": start, "wait": wait}[what](**details)
            print(json.dumps(answer), flush=True)
    for pid in running:  # whoever asked is gone, in whatever way
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)


def import_other_packages() -> None:
    """Whatever the project's files import that is not the project's."""
    names = set(MODULES)
    for path in (ROOT / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module is not None:
                names.add(node.module)
    for name in sorted(names):
        if name.partition(".")[0] not in PACKAGES:
            with contextlib.suppress(ImportError):  # one that is optional
                importlib.import_module(name)


def start(arguments: list[str], files: list[str], **options: Any) -> int:
    pid = os.fork()
    with contextlib.suppress(PermissionError):  # the child may have been first
        os.setpgid(pid, pid)  # so that it can be killed with all that it starts
    if pid:
        running.add(pid)
        return pid
    streams = [os.open(file, os.O_CREAT | os.O_APPEND | os.O_WRONLY) for file in files]
    for number, stream in enumerate([os.open(os.devnull, os.O_RDONLY), *streams]):
        os.dup2(stream, number)
    code = 1
    try:
        code = command(arguments, **options)
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def wait(pid: int, seconds: float) -> int | None:
    """The exit code of a process; None if it runs longer than that."""
    until = time.monotonic() + seconds
    while True:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            running.discard(pid)
            return os.waitstatus_to_exitcode(status)
        is_over, _, _ = select.select([sys.stdin], [], [], 0.005)
        if is_over or time.monotonic() >= until:
            return None


def command(
    arguments: list[str],
    folder: str,
    root: str,
    environment: dict[str, str],
    kill: dict[str, Any] | None,
    fresh_workers: bool,
    closed: list[int],
    unread: list[int],
) -> int:
    """What `python` does with these arguments; returns its exit code."""
    change_streams(closed, unread, environment.get("PYTHONIOENCODING"))
    os.chdir(folder)
    os.environ.update(environment)
    os.environ["PYTHONPATH"] = os.pathsep.join([f"{root}/src", root])  # also of what it starts
    sys.path[:0] = [*environment.get("PYTHONPATH", "").split(os.pathsep), f"{root}/src", root]
    signal.signal(signal.SIGINT, signal.default_int_handler)  # it may have been ignored
    if not fresh_workers:
        from joblib.externals.loky.backend import context

        warnings.filterwarnings("ignore", message="`fork` start method should not be used")
        context.set_start_method("fork")
    if kill is not None:
        from tests.runs.kill import Kill, die_at

        die_at(Kill(**kill), Path.cwd() / "logs")
    code: Any = 0
    try:
        interpret(arguments, root)
    except SystemExit as stop:
        code = stop.code
    except BaseException:
        traceback.print_exc()
        code = 1
    if isinstance(code, str):
        print(code, file=sys.stderr)
    threading._shutdown()  # type: ignore[attr-defined]  # as at the end of any Python process
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):
            stream.flush()
    return code if isinstance(code, int) else int(code is not None)


def change_streams(closed: list[int], unread: list[int], encoding: str | None) -> None:
    """What `python` makes of its standard streams when it starts."""
    for number in unread:
        reader, writer = os.pipe()
        os.close(reader)
        os.dup2(writer, number)
        os.close(writer)
    for number in closed:
        os.close(number)
        setattr(sys, ("stdin", "stdout", "stderr")[number], None)
    for stream in (sys.stdout, sys.stderr):
        if stream is not None and encoding is not None:
            stream.reconfigure(encoding=encoding)  # type: ignore[union-attr]


def interpret(arguments: list[str], root: str) -> None:
    first, *others = arguments
    if first == "-m":
        sys.argv = others
        runpy.run_module(others[0], run_name="__main__", alter_sys=True)
    else:
        script = os.path.join(root, first)
        sys.argv = [script, *others]
        sys.path.insert(0, os.path.dirname(script))
        runpy.run_path(script, run_name="__main__")


if __name__ == "__main__":
    serve()
