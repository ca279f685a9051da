"""Compare two sweeps number by number, to prove that a change of the code left all as they were."""

import argparse
import sys
from pathlib import Path

from runlab.cli.loading import loading
from runlab.runs import record


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = (
        "Compares status, metrics, learning curves, predictions and the weights of the best "
        "and last checkpoint of runs that have one name. Exit code 0 if all are the same, 1 if "
        "not. Train the second sweep with the first one's command, on the same machine."
    )
    parser.add_argument("before", type=Path, help="the sweep's folder, such as logs/<sweep>")
    parser.add_argument("after", type=Path, help="the folder of the sweep to compare it with")
    parser.add_argument(
        "--tolerance", type=float, default=0.0,
        help="largest difference that counts as the same; single predictions may differ then [0]",
    )  # fmt: skip
    parser.add_argument(
        "--rename", type=rename, nargs="+", action="extend", default=[], metavar="OLD=NEW",
        help="a text in the first sweep's names of runs, metrics, columns, arrays and weights, "
        "and what the second one has for it, which holds no =",
    )  # fmt: skip


def rename(text: str) -> tuple[str, str]:
    old, sign, new = text.rpartition("=")  # runs' names hold the sign too
    if not (old and sign):
        raise argparse.ArgumentTypeError(f"expected OLD=NEW, got {text!r}")
    return old, new


def run(arguments: argparse.Namespace) -> None:
    for sweep in (arguments.before, arguments.after):
        record.folders(sweep)  # told before torch is imported
    with loading():
        from runlab.extras.same_numbers.same_numbers import compare_numbers

    result = compare_numbers(
        arguments.before, arguments.after, arguments.tolerance, arguments.rename
    )
    print(result.terminal())
    sys.exit(not result.is_same)
