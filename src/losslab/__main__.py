"""The commands of `losslab`, which are those of scripts/ too."""

import sys

try:
    from pathlib import Path

    from runlab.cli.command import Command, run_command
except KeyboardInterrupt:  # the imports of a command end so by themselves
    sys.exit(130)

CONF = Path(__file__).resolve().parents[2] / "conf"

COMMANDS = {
    "Train": [
        Command(
            "train",
            "train one run, or with -m a sweep of runs, and compare them",
            "runlab.cli.train:train",
            (
                "",
                "loss=mse optimizer.lr=0.1 trainer.max_epochs=1",
                "-m loss=mse,cross_entropy optimizer.lr=0.1,0.5 seed=0,1",
                "-m experiment=mse_vs_cross_entropy",
            ),
            config="train",
        ),
    ],
    "Look": [
        Command(
            "compare",
            "write the comparison of a sweep again, also while it trains",
            "runlab.cli.compare",
            (
                "logs/train",
                "logs/train --metric nll",
                "logs/train --margin 0.5",
            ),
        ),
        Command(
            "status",
            "say how far a sweep is",
            "runlab.cli.status",
            ("logs/train",),
        ),
        Command(
            "dashboard",
            "show sweeps in TensorBoard, with what is concluded from them",
            "runlab.extras.dashboard.command",
            (
                "",
                "logs/first logs/second --port 7000",
            ),
        ),
        Command(
            "index",
            "list all sweeps with what they conclude, and write a page of it",
            "runlab.cli.index",
            ("",),
        ),
        Command(
            "clean",
            "free disk space: partial runs, checkpoints that nothing needs",
            "runlab.cli.clean",
            (
                "logs/train",
                "logs/train --partial --dry-run",
                "logs/train --checkpoints",
            ),
        ),
        Command(
            "landscape",
            "draw the loss surfaces of two arms of a sweep",
            "runlab.extras.landscape.command",
            (
                "logs/mse_vs_cross_entropy",
                "logs/train --arms mse cross_entropy --seed 0 --points 21",
            ),
        ),
    ],
    "Use a trained network": [
        Command(
            "predict",
            "classify drawings or photos of your own",
            "runlab.extras.classification.command:predict",
            (
                "checkpoint=logs/train/RUN/checkpoints/best.ckpt images=a.png",
                "checkpoint=… 'images=[one.png,two.jpg]' picture=shown.png",
            ),
            config="predict",
            paths=("checkpoint", "images", "picture"),
        ),
        Command(
            "evaluate",
            "test a checkpoint again, alone",
            "runlab.extras.evaluate.command:evaluate",
            (
                "checkpoint=logs/train/RUN/checkpoints/best.ckpt",
                "checkpoint=… data_dir=/elsewhere/data trainer=cpu",
            ),
            config="evaluate",
            paths=("checkpoint", "data_dir"),
        ),
    ],
    "Check": [
        Command(
            "reproduce",
            "train a run again from its record: do its metrics drift?",
            "runlab.extras.reproduce.command",
            (
                "logs/train/RUN",
                "logs/train/RUN --tolerance 1e-6",
            ),
        ),
        Command(
            "same-numbers",
            "compare two sweeps number by number",
            "runlab.extras.same_numbers.command",
            ("logs/before logs/after",),
        ),
        Command(
            "benchmark",
            "time a training step, beside a bare loop and Lightning's way",
            "runlab.extras.benchmark.command:benchmark",
            (
                "",
                "steps=100 rounds=3 startups=0 memory=false",
                "model=cnn data.batch_size=256 threads=2",
            ),
            config="benchmark",
        ),
    ],
    "Set up": [
        Command(
            "completion",
            "have bash or zsh complete what is typed after losslab",
            "runlab.cli.completion",
            (
                "bash",
                "zsh",
            ),
        ),
    ],
}
"""Each with its code, imported when it is called. Delete a room of extras with its entry here."""


def main(arguments: list[str] | None = None) -> None:
    """Runs the command that the arguments name; without them, those of the command line."""
    run_command(COMMANDS, CONF, sys.argv[1:] if arguments is None else arguments)


if __name__ == "__main__":
    __spec__ = None  # so that Lightning starts the other processes of a run by `sys.argv`
    main()
