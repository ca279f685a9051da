"""The commands of `losslab`, which are those of scripts/ too."""

import sys
from pathlib import Path

from runlab.cli.command import Command, run_command

CONF = Path(__file__).resolve().parents[2] / "conf"

COMMANDS = {
    "Train": [
        Command(
            "train",
            "train one run, or with -m a sweep of runs, and compare them",
            "runlab.sweeps.search:train_and_report",
            config="train",
        ),
    ],
    "Look": [
        Command(
            "compare",
            "write the comparison of a sweep again, also while it trains",
            "runlab.cli.compare",
        ),
        Command(
            "status",
            "say how far a sweep is",
            "runlab.cli.status",
        ),
        Command(
            "dashboard",
            "show sweeps in TensorBoard, with what is concluded from them",
            "runlab.extras.dashboard.command",
        ),
        Command(
            "landscape",
            "draw the loss surfaces of two arms of a sweep",
            "runlab.extras.landscape.command",
        ),
    ],
    "Use a trained network": [
        Command(
            "predict",
            "classify drawings or photos of your own",
            "runlab.extras.classification.command:predict",
            config="predict",
            paths=("checkpoint", "images", "picture"),
        ),
        Command(
            "evaluate",
            "test a checkpoint again, alone",
            "runlab.extras.evaluate.command:evaluate",
            config="evaluate",
            paths=("checkpoint", "data_dir"),
        ),
    ],
    "Check": [
        Command(
            "reproduce",
            "train a run again from its record: do its metrics drift?",
            "runlab.extras.reproduce.command",
        ),
        Command(
            "same-numbers",
            "compare two sweeps number by number",
            "runlab.extras.same_numbers.command",
        ),
        Command(
            "benchmark",
            "time a training step, beside a bare loop and Lightning's way",
            "runlab.extras.benchmark.command:benchmark",
            config="benchmark",
            schema="runlab.extras.benchmark.schema",
        ),
    ],
}
"""Each with its code, imported when it is called. Delete a room of extras with its entry here."""


def main(arguments: list[str] | None = None) -> None:
    """Runs the command that the arguments name; without them, those of the command line."""
    run_command("losslab", COMMANDS, CONF, sys.argv[1:] if arguments is None else arguments)


if __name__ == "__main__":
    main()
