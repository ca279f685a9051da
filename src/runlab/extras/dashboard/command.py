"""Show sweeps in TensorBoard, what is concluded from them and their runs, until Ctrl-C."""

import argparse
import os
import sys
import tempfile
import webbrowser
from pathlib import Path

from runlab.cli.loading import ended_by_ctrl_c
from runlab.runs import record


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = (
        "It is served on 127.0.0.1, for this machine alone. The means over seeds lie in "
        "logs/<sweep>.aggregates and grow while the sweep trains."
    )
    parser.add_argument(
        "sweeps", nargs="*", type=Path, metavar="SWEEP", help="such as logs/train [the newest]"
    )
    parser.add_argument("--port", type=port, default=6006, help="[6006]")
    parser.add_argument("--no-browser", action="store_true", help="only print the links")


def port(text: str) -> int:
    number = int(text) if text.isdecimal() else -1
    if not 0 <= number <= 65535:
        raise argparse.ArgumentTypeError(f"expected a whole number from 0 to 65535, got {text}")
    return number


def run(arguments: argparse.Namespace) -> None:
    for sweep in arguments.sweeps:
        record.folders(sweep)  # told before pandas and TensorBoard are imported
    with ended_by_ctrl_c():
        from runlab.extras.dashboard.dashboard import Dashboard, newest_sweep

    with tempfile.TemporaryDirectory(prefix="dashboard-") as folder:
        sweeps = [sweep.resolve() for sweep in arguments.sweeps] or [
            newest_sweep(Path("logs")).resolve()
        ]
        dashboard = Dashboard(sweeps, arguments.port, Path(folder))
        width = max(map(len, dashboard.links)) + 2
        for name, link in dashboard.links.items():
            print(f"{name + ':':{width}}{link}")
        print("Ctrl-C ends it.", flush=True)
        if not arguments.no_browser and has_browser():
            webbrowser.open(next(iter(dashboard.links.values())))
        dashboard.serve()


def has_browser() -> bool:
    """Whether a browser would open in a window of this machine, rather than in the terminal."""
    if "SSH_CONNECTION" in os.environ or sys.platform not in ("darwin", "win32"):
        return any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY"))
    return True
