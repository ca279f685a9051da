"""Say how far a sweep is, also while it trains."""

import argparse
from pathlib import Path

from runlab.sweeps.status import sweep_status


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("sweep", type=Path, help="the folder of runs, such as logs/train")


def run(arguments: argparse.Namespace) -> None:
    print(sweep_status(arguments.sweep).terminal())
