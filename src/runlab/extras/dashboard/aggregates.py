"""A sweep's aggregates for TensorBoard: one TensorBoard run an arm, the comparison beside them.

TensorBoard unchecks every run beyond 40 and walks into every subfolder of its logdir, so they lie
in a logdir of their own, beside the sweep.
"""

import os
import re
import shlex
import time
from collections.abc import Iterator
from pathlib import Path

from runlab import atomic
from runlab.analysis import Comparison
from runlab.analysis.arms import ordered
from runlab.analysis.mountain import read_mountain
from runlab.extras.dashboard.bands import bands
from runlab.extras.dashboard.events import Event, event_file, image, layout, scalar, text
from runlab.extras.dashboard.layout import layout_of
from runlab.text import file_name

SUFFIX = ".aggregates"
EVENTS = "events.out.tfevents"
LEFT_BEHIND = 600.0
"""Seconds after which every reader has gone on from an emptied file: it looks every 5."""

OWN = re.compile(
    rf"{re.escape(EVENTS)}\.\d+|\.{re.escape(EVENTS)}\.\d+\.\d+{re.escape(atomic.PARTIAL)}"
)
"""Names of the files in a TensorBoard run's folder, with those that a killed writer left."""

ABOUT = "README.md"
OUTCOMES = "outcomes.json"
"""Which runs the aggregates are of, and when each was recorded."""

HEADING = "# Aggregates of "
COMPARISON = "comparison"
"""The TensorBoard run that holds what is of all arms: layout, figures, text."""

FIRST = ("mse", "cross_entropy")
"""Arms in the order of TensorBoard's colours, orange and blue: so these are the figures' too."""

FIGURES = (
    *("paired", "sensitivity", "learning_curves", "gradients", "landscape"),
    *("grid", "reliability", "confusion"),
)
"""Which loss, which learning rate, why; then the rest."""

READING = """\
- **Custom Scalars**: a line is an arm's mean over seeds, its band ±1 sd within their range; \
the x axis counts optimizer steps. From where a run diverged or ended early, the mean is of the \
rest; the titles count those that diverged. Where a band is cut, untick *Ignore outliers in chart \
scaling*; smoothing leaves bands as they are.
- **Images**: the figures of the comparison.
"""


def aggregates_folder(sweep: Path) -> Path:
    """`logs/<sweep>.aggregates`."""
    return sweep.with_name(sweep.name + SUFFIX)


def write_aggregates(comparison: Comparison) -> Path:
    """Makes them anew of a comparison that is written, also while TensorBoard reads them.

    Each TensorBoard run gets one new file; only then the earlier ones go. Returns the folder.

    Raises:
        ValueError: if they cannot be written, or their place holds what they did not put there.
    """
    folder = aggregates_folder(comparison.sweep)
    runs = _runs(comparison.shown())
    try:
        folder.mkdir(exist_ok=True)
        earlier = _earlier(folder)
        for name, content in runs.items():
            replace(folder / name, content)
        for path in earlier:
            if path.name not in runs:
                _remove(path)
        atomic.replace(folder / ABOUT, _about(comparison.sweep).encode())
    except OSError as error:
        raise ValueError(
            f"expected to write the aggregates into {folder}, got: {error.strerror}; free the "
            "place or its permissions and run scripts/compare.py again"
        ) from error
    return folder


def _earlier(folder: Path) -> list[Path]:
    """The TensorBoard runs of earlier aggregates. Raises ValueError if anything else is there."""
    runs = []
    for path in sorted(folder.iterdir()):
        if path.is_dir() and not path.is_symlink():
            foreign = [each for each in path.iterdir() if not _is_own(each)]
            runs.append(path)
        else:
            foreign = [] if _is_theirs(path) else [path]
        if foreign:
            raise ValueError(
                f"expected {folder} to be free for the aggregates of {folder.stem}, got "
                f"{min(foreign).relative_to(folder)} there, which is none of theirs: move it, or "
                "rename the folder"
            )
    return runs


def _is_own(path: Path) -> bool:
    return path.is_file() and OWN.fullmatch(path.name) is not None


def _is_theirs(path: Path) -> bool:
    """Whether it is a file that lies beside the runs, or what a killed writer left of it."""
    partial = rf"\.({re.escape(ABOUT)}|{re.escape(OUTCOMES)})\.\d+{re.escape(atomic.PARTIAL)}"
    if path.name == OUTCOMES or re.fullmatch(partial, path.name):
        return True
    return path.name == ABOUT and path.read_bytes().startswith(HEADING.encode())


def _remove(run: Path) -> None:
    for path in run.iterdir():
        if _is_own(path):
            path.unlink(missing_ok=True)
    run.rmdir()


def _runs(comparison: Comparison) -> dict[str, bytes]:
    """Event files by TensorBoard run, the one that is coloured first first."""
    arms = ordered(comparison.cells["arm"])
    files = {
        run_name(arm): event_file(scalar(*point) for point in bands(comparison, arm))
        for arm in [
            *(arm for arm in FIRST if arm in arms),
            *(arm for arm in arms if arm not in FIRST),
        ]
    }
    return files | {COMPARISON: event_file(_comparison(comparison))}


def _comparison(comparison: Comparison) -> list[Event]:
    page = comparison.folder / "comparison.html"
    conclusion, *tables = _without_pictures(comparison.folder / "comparison.md").split("\n## ")
    return [
        layout(layout_of(comparison)),
        text("1_conclusion", f"{conclusion}\nThe whole comparison: `{page}`\n\n{READING}"),
        text("2_tables", "\n## ".join(["", *tables]).lstrip("\n")),
        *_figures(comparison),
    ]


def _figures(comparison: Comparison) -> Iterator[Event]:
    """Those that there are, each always under the same number: TensorBoard forgets no tag."""
    mountain = read_mountain(comparison.folder, comparison.runs, comparison.cells)
    for number, name in enumerate(FIGURES, start=1):
        path = comparison.folder / f"{name}.png"
        if path.exists() and (name != "landscape" or mountain is not None):
            yield image(f"comparison/{number}_{name}", path)


def _without_pictures(path: Path) -> str:
    return re.sub(r"^!\[.*\]\(.*\)\n+", "", path.read_text(), flags=re.MULTILINE)


def run_name(arm: str) -> str:
    """The arm's name, safe as that of a folder, and never longer than one may be."""
    return file_name(arm, keep=" ")


def replace(folder: Path, content: bytes) -> None:
    """Puts a new file after the earlier ones, which are emptied, and go when no reader needs them.

    A reader goes on from file to file by name. It stays for ever with a file that is overwritten
    or, where it is TensorBoard's own loader rather than its fast one, deleted.
    """
    folder.mkdir(exist_ok=True)
    earlier = sorted(folder.glob(f"{EVENTS}.*"))
    number = max([time.time_ns(), *(int(path.suffix[1:]) + 1 for path in earlier)])
    atomic.replace(folder / f"{EVENTS}.{number}", content)
    for path in earlier:
        if path.stat().st_size:
            os.truncate(path, 0)
        elif time.time() - path.stat().st_mtime > LEFT_BEHIND:
            path.unlink(missing_ok=True)


def _about(sweep: Path) -> str:
    place, name = sweep.resolve(), sweep.name
    shown, compared = f"make dashboard SWEEP={name}", f"logs/{name}"
    if place.parent != Path("logs").resolve() or shlex.quote(name) != name:
        compared = shlex.quote(str(place))
        shown = f"python scripts/dashboard.py {compared}"
    return (
        f"{HEADING}{sweep.name} for TensorBoard\n\n"
        f"Means over seeds, a run for each arm, and the comparison: `{shown}` shows them.\n"
        f"Made anew with every comparison (`python scripts/compare.py {compared}`): nothing is "
        "lost if this folder is deleted.\n"
    )
