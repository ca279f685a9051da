"""What can be done with a run that has ended, as commands that bash and zsh take as they are."""

import os
import shlex
from pathlib import Path

from runlab import program


def next_steps(folder: Path) -> list[str]:
    """One command a line, of those that the run's files serve."""
    place = os.path.relpath(folder) if folder.is_relative_to(Path.cwd()) else str(folder)
    lines = []
    if any(folder.glob("events.out.tfevents.*")):
        lines.append(f"  curves: {shlex.join(['tensorboard', '--logdir', place])}")
    best = Path(place) / "checkpoints" / "best.ckpt"
    if best.exists():
        lines.append(f"  test it again: {program.command('evaluate', f'checkpoint={best}')}")
    return lines or [f"  it lies in {place}"]
