"""List all sweeps with what they conclude, and write that as a page: logs/index.html"""

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "logs", nargs="?", type=Path, default=Path("logs"), help="the folder of all sweeps [logs]"
    )


def run(arguments: argparse.Namespace) -> None:
    from runlab.sweeps.index import index_table, write_index
    from runlab.sweeps.summary import read_sweeps

    sweeps = read_sweeps(arguments.logs)
    print("\n".join(index_table(sweeps)), flush=True)
    print(f"\nAs a page: {write_index(arguments.logs, sweeps)}")
