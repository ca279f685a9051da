"""Train a run again from its record, in a fresh folder, and report the drift of every metric."""

import argparse
import logging
import math
import sys
from pathlib import Path

from runlab.cli.loading import loading
from runlab.runs import record


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = (
        "Exit code 0 if every metric is the same, 1 if not. On the same machine and with "
        "the same versions the drift is zero; of a run that trained in a stack it is rounding's."
    )
    parser.add_argument("run", type=Path, help="the run's folder, such as logs/<sweep>/<run>")
    parser.add_argument(
        "--folder", type=Path, help="for the new run [logs/<sweep>-reproduced/<run>]"
    )
    parser.add_argument("--data-dir", type=Path, help="where the data lie [where they lay]")
    parser.add_argument(
        "--tolerance", type=float, default=0.0, help="largest drift that counts as the same [0]"
    )


def run(arguments: argparse.Namespace) -> None:
    if not 0 <= arguments.tolerance < math.inf:
        raise ValueError(f"expected a tolerance of at least 0, got {arguments.tolerance}")
    record.read_complete(arguments.run)  # told before torch is imported
    with loading():
        from runlab.extras.reproduce.reproduce import reproduce

    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    reproduction = reproduce(arguments.run, arguments.folder, arguments.data_dir)
    print(reproduction.terminal())
    sys.exit(reproduction.largest_drift() > arguments.tolerance)
