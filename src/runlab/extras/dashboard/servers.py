"""TensorBoards that live in this process, and end with it however it ends."""

import contextlib
import io
import json
import time
import urllib.request
from pathlib import Path

from tensorboard import program

HOST = "127.0.0.1"
DIRECTLY = urllib.request.build_opener(urllib.request.ProxyHandler({}))
"""Whatever http_proxy says: a proxy does not reach this machine's own addresses."""


def start(logdir: Path, port: int) -> str:
    """The address of a TensorBoard over this folder, for this machine only. Port 0 is any free one.

    Raises:
        ValueError: if it cannot be started, as when the port is in use.
    """
    board = program.TensorBoard()
    board.configure(
        argv=["tensorboard", "--logdir", str(logdir), "--host", HOST, "--port", str(port)]
    )
    try:
        with contextlib.redirect_stderr(io.StringIO()):  # notes on how it loads; errors are raised
            return str(board.launch())
    except program.TensorBoardPortInUseError as error:
        raise ValueError(
            f"expected port {port} to be free, got one in use: choose two others in a row with "
            "--port, or PORT of make"
        ) from error
    except program.TensorBoardServerException as error:
        raise ValueError(f"TensorBoard does not start: {error}") from error


def runs_shown(url: str) -> list[str]:
    """Names of the runs that the TensorBoard has read so far. Raises OSError if it is gone."""
    with DIRECTLY.open(f"{url}data/runs", timeout=60) as answer:
        return [str(name) for name in json.loads(answer.read())]


def wait_for_runs(url: str, seconds: float) -> None:
    """Until it has read some: its page, once open, does not look again by itself."""
    end = time.monotonic() + seconds
    while not runs_shown(url) and time.monotonic() < end:
        time.sleep(0.2)
