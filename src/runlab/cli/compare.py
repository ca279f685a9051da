"""Rebuild the comparison of a sweep, whole or partial."""

import argparse
from pathlib import Path

from runlab.cli.loading import ended_by_ctrl_c
from runlab.runs import record


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("sweep", type=Path, help="the folder of runs, such as logs/train")
    parser.add_argument(
        "--metric",
        help="the measure, by its name in run.json, by which arms are compared and learning rates "
        "chosen on validation [the primary one]; loss only ranks runs of the same loss",
    )
    parser.add_argument(
        "--margin",
        type=float,
        help="differences within ± this, in the measure's unit, do not matter [for the primary "
        "measure: what the runs declared by comparison.margin]",
    )
    parser.add_argument(
        "--arm",
        help="the key whose choice, or value, names arms; null: whatever varies does "
        "[the runs' comparison.arm]",
    )
    parser.add_argument(
        "--rate",
        help="the key of which each arm has its best value chosen on validation; null: none "
        "[the runs' comparison.rate]",
    )


def run(arguments: argparse.Namespace) -> None:
    record.folders(arguments.sweep)  # told before pandas, scipy and matplotlib are imported
    with ended_by_ctrl_c():
        from runlab.analysis.rebuild import rebuild
        from runlab.analysis.terminal import print_comparison

    rebuild(
        arguments.sweep, arguments.metric, arguments.margin, print_comparison,
        arm=arguments.arm, rate=arguments.rate,
    )  # fmt: skip
