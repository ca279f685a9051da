"""TensorBoards at one address: they live in this process, and end with it however it ends."""

import contextlib
import functools
import io
import json
import re
import time
import urllib.request
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from tensorboard import program

from runlab.config.axes import Axes

HOST = "127.0.0.1"
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))
"""Whatever http_proxy says: a proxy does not reach this machine's own addresses."""

ALL = "/all"
"""Below it, a TensorBoard over all runs; at the root, one over what is concluded from them."""

CURVES = {"tagFilter": "val/", "smoothing": "0"}
"""What Time Series shows, whichever tab is opened first."""

CHOSEN_PATTERN = r"^(.+?)(?:, seed -?\d+)?$"
"""Of a TensorBoard run's name in the dashboard, what tells its arm, and the sweep if of several."""

VALUE = r"\[[^\]]*\]|[^,]+"
"""Of a setting in a run's name; a list has commas of its own."""


def start(logdirs: Mapping[str, Path], shortcuts: Mapping[str, str], port: int) -> str:
    """The address of a server with a TensorBoard over each folder, for this machine only.

    Args:
        logdirs: by the path below which each is shown, such as `/all`; one is the root's, "".
        shortcuts: by path, the address within the server that it leads to.
        port: 0 is any free one.

    Raises:
        ValueError: if it cannot be started, as when the port is in use.
    """
    apps: dict[str, WSGIApplication] = {}
    try:
        with contextlib.redirect_stderr(io.StringIO()):  # notes on how it loads; errors are raised
            for prefix in sorted(logdirs, reverse=True):  # the root's last: it serves them all
                app = functools.partial(_site, apps, shortcuts, prefix)
                server = program.TensorBoard(server_class=app)
                server.configure(
                    logdir=str(logdirs[prefix]), path_prefix=prefix, host=HOST, port=port
                )
                url = server.launch()
    except program.TensorBoardPortInUseError as error:
        raise ValueError(
            f"expected port {port} to be free, got one in use: choose another with --port, or "
            "PORT of make"
        ) from error
    except program.TensorBoardServerException as error:
        raise ValueError(f"TensorBoard does not start: {error}") from error
    return str(url)


def _site(
    apps: dict[str, WSGIApplication],
    shortcuts: Mapping[str, str],
    prefix: str,
    app: WSGIApplication,
    flags: Any,
) -> Any:
    """Keeps a TensorBoard's application; the root's gets a server, which serves all of them."""
    apps[prefix] = app
    return Unserved() if prefix else program.WerkzeugServer(_dispatched(apps, shortcuts), flags)


class Unserved:
    """The server of an application that another one serves."""

    def serve_forever(self) -> None:
        pass

    def get_url(self) -> str:
        return ""


def _dispatched(
    apps: Mapping[str, WSGIApplication], shortcuts: Mapping[str, str]
) -> WSGIApplication:
    def dispatch(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        path = str(environ["PATH_INFO"])
        if path in shortcuts and not environ.get("QUERY_STRING"):
            start_response("302 Found", [("Location", shortcuts[path]), ("Content-Length", "0")])
            return []
        prefix = next(each for each in sorted(apps, reverse=True) if is_below(path, each))
        return apps[prefix](environ, start_response)

    return dispatch


def is_below(path: str, prefix: str) -> bool:
    return path == prefix or path.startswith(f"{prefix}/")


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


def make_shortcuts(axes: Iterable[Axes] = (Axes(),)) -> dict[str, str]:
    """Short addresses, and what of TensorBoard they open."""
    chosen, every = (
        urlencode(CURVES | {"runColorGroup": f"regex:{pattern}"})
        for pattern in (CHOSEN_PATTERN, arm_pattern(axes))
    )
    tabs = {"": "text", "means": "custom_scalars", "figures": "images", "curves": "timeseries"}
    shortcuts = {f"/{path}": f"/?{chosen}#{tab}" for path, tab in tabs.items()}
    return shortcuts | {
        ALL: f"{ALL}/?{every}#hparams",
        f"{ALL}/": f"{ALL}/?{every}#hparams",
        f"{ALL}/curves": f"{ALL}/?{every}#timeseries",
    }
