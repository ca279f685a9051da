"""Rebuild the comparison of a sweep, whole or partial: python scripts/compare.py logs/<sweep>"""

import argparse
import sys
from pathlib import Path

from runlab.analysis import ACCURACY, MEASURES, Comparison, compare
from runlab.extras.dashboard import rebuild


def show(comparison: Comparison) -> None:
    print(comparison.terminal(), comparison.folder / "comparison.html", sep="\n\n", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sweep", type=Path, help="the folder of runs, such as logs/train")
    parser.add_argument(
        "--metric",
        choices=MEASURES,
        default="accuracy",
        help="what is compared, and what chooses the learning rates on validation [accuracy]; loss "
        "only ranks runs of the same loss",
    )
    parser.add_argument(
        "--margin",
        type=float,
        help="differences within ± this, in the metric's unit (points of accuracy), do not matter "
        "[accuracy: what the runs declared by comparison.margin]",
    )
    arguments = parser.parse_args()
    try:
        if MEASURES[arguments.metric] is ACCURACY:
            rebuild(arguments.sweep, arguments.margin, show)
        else:
            comparison = compare(arguments.sweep, MEASURES[arguments.metric], arguments.margin)
            comparison.write()
            show(comparison)
    except (ValueError, OSError) as error:
        sys.exit(str(error))
