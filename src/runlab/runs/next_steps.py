"""What can be done with a run that has ended, as commands that bash and zsh take as they are."""

import os
import shlex
import sys
from pathlib import Path


def next_steps(folder: Path) -> list[str]:
    """One command a line, of those that the run's files serve."""
    place = os.path.relpath(folder) if folder.is_relative_to(Path.cwd()) else str(folder)
    commands = {}
    if any(folder.glob("events.out.tfevents.*")):
        commands["curves"] = ["tensorboard", "--logdir", place]
    program, _, command = sys.argv[0].rpartition(" ")  # as `run_command` leaves it
    best = Path(place) / "checkpoints" / "best.ckpt"
    if program and command == "train" and best.exists():
        commands["test it again"] = [program, "evaluate", f"checkpoint={best}"]
    lines = [f"  {what}: {shlex.join(each)}" for what, each in commands.items()]
    return lines or [f"  it lies in {place}"]
