"""Free disk space of sweeps: see what could go, then say which of it may."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from runlab.text import plural, printable, shortened, size_text

if TYPE_CHECKING:
    from runlab.sweeps.clean import Find, Removal

MOST_LISTED = 10


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = (
        "Without --partial or --checkpoints it only says what each would free. A run that a "
        "process trains is never touched, and no link is followed. The same training command "
        "afterwards trains partial runs from their start, and finished runs not again; the record "
        "of a run keeps that its checkpoints were removed."
    )
    parser.add_argument("sweeps", nargs="+", type=Path, metavar="SWEEP", help="such as logs/train")
    parser.add_argument(
        "--partial", action="store_true", help="remove runs that failed or were interrupted"
    )
    parser.add_argument(
        "--checkpoints",
        action="store_true",
        help="remove the checkpoints of runs that ended and that no comparison chose",
    )
    parser.add_argument("--dry-run", action="store_true", help="only say what would be removed")
    parser.add_argument("--yes", action="store_true", help="remove without asking, for scripts")


def run(arguments: argparse.Namespace) -> None:
    from runlab.sweeps import clean

    sweeps = arguments.sweeps
    for sweep in sweeps:
        clean.require_sweep(sweep)
    finds: dict[str, clean.Find] = {}
    if arguments.partial:
        finds["partial runs"] = clean.partial_runs
    if arguments.checkpoints:
        finds["spare checkpoints"] = clean.spare_checkpoints
    if not finds:
        for sweep in sweeps:
            _offer(sweep, "--partial", clean.partial_runs)
            _offer(sweep, "--checkpoints", clean.spare_checkpoints)
        return
    wanted = [
        (sweep, find, _listed(sweep, what, *find(sweep)))
        for sweep in sweeps
        for what, find in finds.items()
    ]
    if arguments.dry_run:
        print("Nothing was removed.")
        return
    everything = [each for _, _, removals in wanted for each in removals]
    if everything and not arguments.yes:
        _confirm(_size(everything))
    for sweep, find, removals in wanted:
        done, left = clean.remove(sweep, find, {each.run for each in removals})
        for sentence in left:
            print(f"left alone: {printable(sentence)}")
        print(f"Removed {_size(done)} of {plural(len(done), 'run')}.", flush=True)


def _offer(sweep: Path, option: str, find: "Find") -> None:
    """Says what the option would free, or what it lacks."""
    try:
        _listed(sweep, option, *find(sweep))
    except ValueError as error:
        print(f"{printable(str(sweep))}: {option}: {printable(str(error))}")


def _listed(
    sweep: Path, what: str, removals: "Sequence[Removal]", left: Sequence[str]
) -> "Sequence[Removal]":
    runs = plural(len(removals), "run")
    print(f"{printable(str(sweep))}: {what}: {_size(removals)} of {runs}")
    length = max((len(each.what) for each in removals), default=0)
    for each in removals[:MOST_LISTED]:
        print(f"  {each.what:{length}}  {_size([each]):>9}  {shortened(printable(each.run), 80)}")
    if len(removals) > MOST_LISTED:
        print(f"  and {len(removals) - MOST_LISTED} more")
    for sentence in left:
        print(f"  left alone: {printable(sentence)}")
    return removals


def _size(removals: "Sequence[Removal]") -> str:
    return size_text(sum(each.size for each in removals))


def _confirm(size: str) -> None:
    """Ends the command unless the user says yes."""
    if not sys.stdin.isatty():
        raise ValueError(
            f"expected --yes to remove {size}, as there is no terminal to ask on: nothing was "
            "removed"
        )
    sys.stdout.flush()
    try:
        answer = input(f"Remove {size} for good? [y/N] ")
    except EOFError:  # Ctrl-D
        print()
        answer = ""
    if answer.strip().lower() not in ("y", "yes"):
        sys.exit("nothing was removed")
