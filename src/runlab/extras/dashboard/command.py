"""Show sweeps in TensorBoard, their runs and what is concluded from them, until Ctrl-C."""

import argparse
import os
import sys
import tempfile
import webbrowser
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = (
        "Two TensorBoards on 127.0.0.1: over the runs, and on the next port over "
        "logs/<sweep>.aggregates, whose means over seeds grow while the sweep trains."
    )
    parser.add_argument(
        "sweeps", nargs="*", type=Path, metavar="SWEEP", help="such as logs/train [the newest]"
    )
    parser.add_argument("--port", type=port, default=6006, help="and the one after it [6006]")
    parser.add_argument("--no-browser", action="store_true", help="only print the links")


def port(text: str) -> int:
    number = int(text) if text.isdecimal() else -1
    if not 0 <= number < 65535:
        raise argparse.ArgumentTypeError(
            f"expected a whole number from 0 to 65534, as the next port is used too, got {text}"
        )
    return number


def run(arguments: argparse.Namespace) -> None:
    from runlab.extras.dashboard.dashboard import Dashboard, newest_sweep

    with tempfile.TemporaryDirectory() as folder:
        sweeps = [sweep.resolve() for sweep in arguments.sweeps] or [
            newest_sweep(Path("logs")).resolve()
        ]
        dashboard = Dashboard(sweeps, arguments.port, Path(folder))
        for name, link in dashboard.links.items():
            print(f"{name}: {link}")
        print("Ctrl-C ends it.", flush=True)
        if not arguments.no_browser and has_browser():
            webbrowser.open(next(iter(dashboard.links.values())))
        dashboard.serve()


def has_browser() -> bool:
    """Whether a browser would open in a window of this machine, rather than in the terminal."""
    if "SSH_CONNECTION" in os.environ or sys.platform not in ("darwin", "win32"):
        return any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY"))
    return True
