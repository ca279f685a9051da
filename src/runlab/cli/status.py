"""Say how far a sweep is, also while it trains."""

import argparse
from pathlib import Path

from runlab.sweeps.live import watch
from runlab.sweeps.status import sweep_status


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("sweep", type=Path, help="the folder of runs, such as logs/train")
    parser.add_argument(
        "--watch", type=seconds, nargs="?", const=2.0, metavar="SECONDS",
        help="say it again and again, every so many seconds [2], until nothing is being trained; "
        "where there is no terminal, in one line each time",
    )  # fmt: skip


def run(arguments: argparse.Namespace) -> None:
    if arguments.watch is None:
        print(sweep_status(arguments.sweep).terminal())
    else:
        watch(arguments.sweep, arguments.watch)


def seconds(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0.1 <= number <= 86_400:
        raise argparse.ArgumentTypeError(f"expected seconds, from 0.1 to 86400, got {text}")
    return number
