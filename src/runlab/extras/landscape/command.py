"""Draw the loss surfaces of two arms and their paths, on the plane through their start and ends."""

import argparse
import logging
from pathlib import Path

from runlab.cli.loading import loading
from runlab.runs import record
from runlab.text import printable, wrapped


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = (
        "Runs keep no trajectories, so two are trained again; their folders stay as they "
        "are. Writes landscape.{png,svg,csv,json} and landscape_paths.csv into <sweep>/comparison, "
        "and the comparison again, whose page then shows the figure."
    )
    parser.add_argument("sweep", type=Path, help="the sweep's folder, such as logs/<sweep>")
    parser.add_argument(
        "--arms", nargs=2, default=(), metavar="ARM", help="[the first two with different losses]"
    )
    parser.add_argument("--seed", type=int, help="[the smallest with which both finished]")
    parser.add_argument("--points", type=int, default=41, help="along each side [41]")
    parser.add_argument("--samples", type=int, default=2_000, help="of the training split [2000]")
    parser.add_argument("--data-dir", type=Path, help="where the data lie [where they lay]")


def run(arguments: argparse.Namespace) -> None:
    record.folders(arguments.sweep)  # told before torch is imported
    with loading():
        from runlab.analysis.rebuild import rebuild
        from runlab.extras.landscape.landscape import compute_landscape
        from runlab.extras.landscape.write import caption, write

    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    logging.getLogger("runlab").setLevel(logging.INFO)
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    result = compute_landscape(**vars(arguments))
    folder = write(result)
    picture = printable(str(folder / "landscape.png"))
    print("\n".join([*wrapped(caption(result)), picture]), flush=True)
    rebuild(arguments.sweep)  # the comparison's page shows the figure, and so the dashboard
