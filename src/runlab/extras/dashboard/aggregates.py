"""A sweep's aggregates for TensorBoard: one TensorBoard run an arm, the comparison beside them.

TensorBoard unchecks every run beyond 40 and walks into every subfolder of its logdir, so they lie
in a logdir of their own, beside the sweep.
"""

import colorsys
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from runlab import atomic, program
from runlab.analysis.cells import select_chosen
from runlab.analysis.comparison import Comparison
from runlab.analysis.learning_rates import with_rate
from runlab.analysis.outcomes import Outcomes, to_outcomes
from runlab.analysis.palette import Style, select_styles
from runlab.analysis.runs import ended_runs
from runlab.analysis.write import figure_names
from runlab.config.targets import configurable
from runlab.extras.dashboard.charts import Point, arm_points, make_layout
from runlab.extras.dashboard.events import (
    Event,
    event_file,
    image,
    is_written_here,
    layout,
    replace_events,
    scalar,
    text,
)
from runlab.text import code, file_name, markdown

SUFFIX = ".aggregates"
README = "README.md"
OUTCOMES = "outcomes.json"
"""Which runs the aggregates are of, and which of them have the chosen learning rates."""

HEADING = "# Aggregates of "
COMPARISON = "comparison"
"""The TensorBoard run that holds what is of all arms: layout, figures, text."""

COLORS = ("#ff7043", "#0077bb", "#cc3311", "#33bbee", "#ee3377", "#009988")
"""TensorBoard's, in the order in which its runs get them; a seventh one is gray."""

FIGURES = (
    *("paired", "sensitivity", "learning_curves", "gradients", "landscape"),
    *("grid", "reliability", "confusion"),
)
"""In the order in which they are shown: which arm, which learning rate, why; others follow."""

HOW_TO_READ = """\
In `{dashboard}` these tabs show the comparison and the runs {at_the_choice}. The address \
ending in `/all` shows all runs.

| tab | what it shows | what to type into its filters |
| --- | --- | --- |
| Text | the conclusion and its tables; what each run is | tags: `tables`, or `run/` |
| Images | the figures of the comparison; then what each run drew | tags: `comparison` |
| Custom Scalars | means over seeds, with bands | |
| Time Series | the curves of single runs | tags: `val/` or `train/`; runs: `seed 0` |
| HParams | a table of the runs | |

- **Custom Scalars**: a line is an arm's mean over seeds, its band ±1 sd within their range; \
the x axis counts optimizer steps. From where a run diverged or ended early, the mean is of the \
rest; the titles count those that diverged or collapsed. Further charts are \
closed: a click on their heading opens them. Where a band is cut, untick *Ignore \
outliers in chart scaling*; smoothing leaves bands as they are.
- **Colours** of arms in Custom Scalars are as near to those of the figures as TensorBoard's own \
seven allow. Time Series has another seven: one for each arm.
- **Empty tabs**: TensorBoard unticks all runs where there are more than 40, as below `/all`. \
Type a filter such as {run} and press *Toggle all runs*, or tick the box above all runs.
"""

UNREADABLE = (OSError, ValueError, TypeError, KeyError, RecursionError)
"""What reading a damaged file, or one of an earlier release, raises."""


class ChosenRun(NamedTuple):
    """A run at its arm's chosen learning rate; `label` is the name of the arm's TensorBoard run."""

    label: str
    seed: int
    run: str


def aggregates_folder(sweep: Path) -> Path:
    """`logs/<sweep>.aggregates`."""
    return sweep.with_name(sweep.name + SUFFIX)


@configurable
def write_aggregates(comparison: Comparison) -> Path:
    """Makes them anew of a comparison that is written, also while TensorBoard reads them.

    Each TensorBoard run gets one new file; only then the earlier ones go. Returns the folder.

    Raises:
        ValueError: if they cannot be written, or the folder holds what they did not put there.
    """
    folder = aggregates_folder(comparison.sweep)
    runs = _event_files(comparison.shown())
    try:
        folder.mkdir(exist_ok=True)
        earlier = _earlier_runs(folder)
        for name, content in runs.items():
            replace_events(folder / name, content)
        for path in earlier:
            if path.name not in runs:
                _remove(path)
        atomic.replace(folder / README, _readme(comparison.sweep).encode())
        atomic.replace(folder / OUTCOMES, _outcomes_file(comparison))
    except OSError as error:
        raise ValueError(
            f"expected to write the aggregates into {folder}, got: {error.strerror}; free the "
            f"place or its permissions and run {program.name()} compare again"
        ) from error
    return folder


# What lies in the folder


def _earlier_runs(folder: Path) -> list[Path]:
    """The TensorBoard runs of earlier aggregates. Raises ValueError if anything else is there."""
    runs = []
    for path in sorted(folder.iterdir()):
        if path.is_dir() and not path.is_symlink():
            foreign = [each for each in path.iterdir() if not is_written_here(each)]
            runs.append(path)
        else:
            foreign = [] if _is_beside_runs(path) else [path]
        if foreign:
            raise ValueError(
                f"expected {folder} to be free for the aggregates of {folder.stem}, got "
                f"{min(foreign).relative_to(folder)} there, which is none of theirs: move it, or "
                "rename the folder"
            )
    return runs


def _is_beside_runs(path: Path) -> bool:
    """Whether aggregates have this file beside their runs, or a killed writer left it there."""
    partial = rf"\.({re.escape(README)}|{re.escape(OUTCOMES)})\.\d+{re.escape(atomic.PARTIAL)}"
    if path.name == OUTCOMES or re.fullmatch(partial, path.name):
        return True
    return path.name == README and path.read_bytes().startswith(HEADING.encode())


def _remove(run: Path) -> None:
    for path in run.iterdir():
        if is_written_here(path):
            path.unlink(missing_ok=True)
    run.rmdir()


def _readme(sweep: Path) -> str:
    folder, name = sweep.resolve(), sweep.name
    show, argument = f"make dashboard SWEEP={name}", f"logs/{name}"
    if folder.parent != Path("logs").resolve() or program.quoted(name) != name:
        argument = str(folder)
        show = program.command("dashboard", argument)
    compare = program.command("compare", argument)
    return (
        f"{HEADING}{markdown(sweep.name)} for TensorBoard\n\n"
        f"Means over seeds, a run for each arm, and the comparison: {code(show)} shows them.\n"
        f"Made anew with every comparison ({code(compare)}): nothing is lost if this folder is "
        "deleted.\n"
    )


# Which runs they are of


def read_outcomes(folder: Path) -> Outcomes:
    """Those that the aggregates in this folder are of; none where that is not known."""
    try:
        return to_outcomes(json.loads((folder / OUTCOMES).read_text(encoding="utf-8"))["ended"])
    except UNREADABLE:
        return frozenset()


def read_chosen(folder: Path) -> list[ChosenRun]:
    """The runs at the chosen learning rates; none where that is not known."""
    try:
        rows = json.loads((folder / OUTCOMES).read_text(encoding="utf-8"))["chosen"]
        chosen = [ChosenRun(str(label), int(seed), str(run)) for label, seed, run in rows]
    except UNREADABLE:
        return []
    return [each for each in chosen if Path(each.run).name == each.run]


def _outcomes_file(comparison: Comparison) -> bytes:
    shown = comparison.shown()
    runs = select_chosen(ended_runs(comparison.runs), shown.cells)
    rows = zip(runs["arm"], runs["seed"], runs["run"], strict=True)
    chosen = sorted(ChosenRun(run_name(arm), int(seed), run) for arm, seed, run in rows)
    return json.dumps({"ended": sorted(comparison.outcomes), "chosen": chosen}).encode()


# What the TensorBoard runs hold


def _event_files(comparison: Comparison) -> dict[str, bytes]:
    """By TensorBoard run, in the order in which TensorBoard gives them its colours."""
    arms = select_styles(comparison.cells["arm"], comparison.arm_styles)
    events = {
        run_name(arm): map(_scalar, arm_points(comparison, arm))
        for arm in order_by_color(arms, comparison.known_styles)
    } | {COMPARISON: _comparison_events(comparison)}
    return {name: event_file(own, place) for place, (name, own) in enumerate(events.items())}


def _scalar(point: Point) -> Event:
    return scalar(*point)


def run_name(arm: str) -> str:
    """The arm's name, safe as that of a folder, and never longer than one may be."""
    return file_name(arm, keep=" ")


def order_by_color(arms: Iterable[str], known: Mapping[str, Style]) -> list[str]:
    """The arms with a configured colour first, by the one of TensorBoard's that is most like it."""
    hues = [_hue(color) for color in COLORS]

    def position(arm: str) -> int:
        if arm not in known:
            return len(hues)
        hue = _hue(known[arm].color)
        return min(range(len(hues)), key=lambda index: abs((hue - hues[index] + 0.5) % 1 - 0.5))

    return sorted(arms, key=position)


def _hue(color: str) -> float:
    """Of `#rrggbb`; both 0 and 1 are red."""
    red, green, blue = (int(color[start : start + 2], 16) / 255 for start in (1, 3, 5))
    return colorsys.rgb_to_hsv(red, green, blue)[0]


def _comparison_events(comparison: Comparison) -> list[Event]:
    content = (comparison.folder / "comparison.md").read_text(encoding="utf-8")
    conclusion, *tables = _without_figures(content).split("\n## ")
    page = code(str(comparison.folder / "comparison.html"))
    return [
        layout(make_layout(comparison)),
        text("1_conclusion", f"{conclusion}\nThe whole comparison: {page}\n"),
        text("2_what_shows_what", _how_to_read(comparison)),
        text("3_tables", "\n## ".join(["", *tables]).lstrip("\n")),
        *_figure_events(comparison, content),
    ]


def _how_to_read(comparison: Comparison) -> str:
    run = ended_runs(comparison.runs)["run"].iloc[0]
    return HOW_TO_READ.format(
        dashboard=program.command("dashboard"),
        at_the_choice=with_rate(comparison.rate, "at the chosen {plural}") or "of each arm",
        run=code(run.partition(",seed=")[0]),
    )


def _without_figures(markdown: str) -> str:
    return re.sub(r"^!\[.*\]\(.*\)\n+", "", markdown, flags=re.MULTILINE)


def _figure_events(comparison: Comparison, markdown: str) -> Iterator[Event]:
    """Those that the comparison shows, each always under one number: TensorBoard forgets no tag."""
    shown = set(re.findall(r"^!\[.*\]\((.*)\.svg\)$", markdown, flags=re.MULTILINE))
    for number, name in enumerate(dict.fromkeys([*FIGURES, *figure_names(comparison)]), start=1):
        path = comparison.folder / f"{name}.png"
        if name in shown and path.exists():
            yield image(f"comparison/{number}_{name}", path)
