"""TensorBoards that live in this process, end with it however it ends, and links into them."""

import contextlib
import io
import json
import re
import time
import urllib.request
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import quote

from tensorboard import program

from runlab.config.axes import Axes

HOST = "127.0.0.1"
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))
"""Whatever http_proxy says: a proxy does not reach this machine's own addresses."""

VALUE = r"\[[^\]]*\]|[^,]+"
"""Of a setting in a run's name; a list has commas of its own."""


def start(logdir: Path, port: int) -> str:
    """The address of a TensorBoard over this folder, for this machine only. Port 0 is any free one.

    Raises:
        ValueError: if it cannot be started, as when the port is in use.
    """
    server = program.TensorBoard()
    server.configure(
        argv=["tensorboard", "--logdir", str(logdir), "--host", HOST, "--port", str(port)]
    )
    try:
        with contextlib.redirect_stderr(io.StringIO()):  # notes on how it loads; errors are raised
            return str(server.launch())
    except program.TensorBoardPortInUseError as error:
        raise ValueError(
            f"expected port {port} to be free, got one in use: choose two others in a row with "
            "--port, or PORT of make"
        ) from error
    except program.TensorBoardServerException as error:
        raise ValueError(f"TensorBoard does not start: {error}") from error


def runs_shown(url: str) -> list[str]:
    """Names of the runs that the TensorBoard has read so far. Raises OSError if it is gone."""
    with DIRECT.open(f"{url}data/runs", timeout=60) as answer:
        return [str(name) for name in json.loads(answer.read())]


def wait_for_runs(url: str, seconds: float) -> None:
    """Until it has read some: its page, once open, does not look again by itself."""
    end = time.monotonic() + seconds
    while not runs_shown(url) and time.monotonic() < end:
        time.sleep(0.2)


def arm_pattern(axes: Iterable[Axes] = (Axes(),)) -> str:
    """Of a run's name, what tells its arm: sweep, arm and whatever else was overridden.

    Args:
        axes: by which runs are compared. They have the parts of which the configuration has keys.
    """
    names = [[each.names().get(key or "") for key in (each.arm, each.rate)] for each in axes]
    arms, rates = (
        "|".join(dict.fromkeys(re.escape(name) for name in own if name is not None))
        for own in zip(*names, strict=True)
    )
    arm = f"(?:(?:{arms})=({VALUE}),)?" if arms else ""
    rate = f"(?:(?:{rates})=[^,]+,)?" if rates else ""
    return rf"^(?:(.+)/)?{arm}{rate}seed=\d+([^~]*)"


def make_links(runs: str, aggregates: str, axes: Iterable[Axes] = (Axes(),)) -> dict[str, str]:
    """Addresses within the two TensorBoards, given by theirs; keys say what they show."""
    colored = f"runColorGroup={quote(f'regex:{arm_pattern(axes)}', safe='')}"
    return {
        "runs, coloured by arm": f"{runs}?tagFilter=val%2F&smoothing=0&{colored}#timeseries",
        "hyperparameters": f"{runs}#hparams",
        "means over seeds": f"{aggregates}#custom_scalars",
        "figures": f"{aggregates}#images",
        "conclusion": f"{aggregates}#text",
    }
