"""TensorBoard over sweeps: what is concluded from them, with the chosen runs; and all runs."""

import time
from collections.abc import Iterable, Sequence
from itertools import groupby
from pathlib import Path

from runlab import program
from runlab.analysis.outcomes import Outcome, Outcomes, outcome_of
from runlab.analysis.rebuild import rebuild
from runlab.config.axes import Axes
from runlab.extras.dashboard import servers
from runlab.extras.dashboard.aggregates import (
    ChosenRun,
    aggregates_folder,
    read_chosen,
    read_outcomes,
    write_aggregates,
)
from runlab.extras.dashboard.events import EVENTS
from runlab.runs import alike, record
from runlab.text import printable

CHECK_INTERVAL = 5.0
"""Seconds between two looks at the records."""

REBUILD_PAUSE = 30.0
REBUILD_PAUSE_FACTOR = 10.0
"""Between two rebuilds: seconds at least, and how many times what the last one took."""

MOST_TICKED = 40
"""TensorBoard ticks no run of a logdir with more."""

FIRST_RUN_TIMEOUT = 15.0
"""Seconds for a TensorBoard to read its first run, where there is one."""


class Dashboard:
    """Starts TensorBoard at one address: what is concluded, and below `/all` all runs.

    `folder` is an empty one for links to sweeps, runs and aggregates.

    Raises:
        ValueError: if a sweep is none, two have the same name, or a port is in use.
    """

    def __init__(self, sweeps: Sequence[Path], port: int, folder: Path) -> None:
        names = [sweep.name for sweep in sweeps]
        if len(set(names)) < len(names):
            raise ValueError(f"expected sweeps of different names, got {', '.join(names)}")
        runs = sum(len(record.folders(sweep)) for sweep in sweeps)  # says what is wrong with one
        self.watchers = [SweepWatcher(sweep) for sweep in sweeps]
        self.concluded = folder / "concluded"
        self.concluded.mkdir()
        self.refresh()
        logdirs = {"": self.concluded, servers.ALL: _logdir(sweeps, folder / "runs")}
        shortcuts = servers.make_shortcuts(map(axes_of, sweeps))
        self.url = servers.start(logdirs, shortcuts, port)
        self.urls = [self.url, f"{self.url}{servers.ALL[1:]}/"]
        for url, logdir in zip(self.urls, logdirs.values(), strict=True):
            if any(logdir.glob(f"*/{EVENTS}.*")) or any(logdir.glob(f"*/*/{EVENTS}.*")):
                servers.wait_for_runs(url, FIRST_RUN_TIMEOUT)
        self.links = self._links(runs)

    def _links(self, runs: int) -> dict[str, str]:
        """Addresses by what they show, first the one to open."""
        links = {
            "conclusion": self.url,
            "means over seeds": f"{self.url}means",
            "figures": f"{self.url}figures",
            "curves of the chosen runs": f"{self.url}curves",
            f"all {runs} runs": f"{self.url}all",
            "curves of all runs": f"{self.url}all/curves",
        }
        if any(self.concluded.iterdir()):
            return links
        every = "curves of all runs"  # nothing is concluded as long as no run has ended
        return {every: links[every]} | links

    def refresh(self) -> None:
        """Updates the aggregates of all sweeps, and prints what is newly in the way."""
        for watcher in self.watchers:
            if problem := watcher.refresh():
                print(printable(f"{watcher.sweep.name}: {problem}", keep="\n"), flush=True)
        link_concluded([watcher.sweep for watcher in self.watchers], self.concluded)

    def serve(self) -> None:
        """Keeps the aggregates up to date, until a TensorBoard is gone: then raises ValueError."""
        while True:
            time.sleep(CHECK_INTERVAL)
            self.refresh()
            for url in self.urls:
                try:
                    servers.runs_shown(url)
                except OSError as error:
                    raise ValueError(
                        f"the TensorBoard at {url} does not answer: {error}"
                    ) from error


def link_concluded(sweeps: Sequence[Path], folder: Path) -> None:
    """Makes `folder` one of links alone: to the aggregates of the sweeps, and to chosen runs."""
    aggregates = {sweep: _runs_in(aggregates_folder(sweep)) for sweep in sweeps}
    room = MOST_TICKED - sum(map(len, aggregates.values()))
    chosen = fitting([read_chosen(aggregates_folder(sweep)) for sweep in sweeps], room)
    for sweep, runs in zip(sweeps, chosen, strict=True):
        own = folder if len(sweeps) == 1 else folder / sweep.name
        own.mkdir(exist_ok=True)
        wanted = {path.name: path for path in aggregates[sweep]}
        wanted |= {f"{each.label}, seed {each.seed}": sweep / each.run for each in runs}
        for link in own.iterdir():
            if link.is_symlink() and wanted.get(link.name) != link.readlink():
                link.unlink()
        for name, target in wanted.items():
            if not (own / name).is_symlink():
                (own / name).symlink_to(target, target_is_directory=True)


def _runs_in(aggregates: Path) -> list[Path]:
    return [path for path in sorted(aggregates.glob("*/")) if any(path.glob(f"{EVENTS}.*"))]


def fitting(sweeps: Sequence[Sequence[ChosenRun]], room: int) -> list[list[ChosenRun]]:
    """The chosen runs of each sweep, of as many seeds an arm, the smallest, as there is room for.

    TensorBoard unticks all runs of a logdir if there are too many.
    """
    ranked = [_ranked(runs) for runs in sweeps]
    for seeds in range(max((rank for own in ranked for rank, _ in own), default=0), 0, -1):
        kept = [[run for rank, run in own if rank <= seeds] for own in ranked]
        if sum(map(len, kept)) <= room:
            return kept
    return [[] for _ in sweeps]


def _ranked(runs: Iterable[ChosenRun]) -> list[tuple[int, ChosenRun]]:
    """Each run with the place of its seed among those of its arm, from 1."""
    by_arm = groupby(sorted(runs), key=lambda run: run.label)
    return [pair for _, own in by_arm for pair in enumerate(own, start=1)]


def axes_of(sweep: Path) -> Axes:
    """By what its runs are compared, as the first that can be read says."""
    entry = next((entry for _, entry in alike.readable(sweep)), {})
    return Axes.of(record.nested_dict(entry, "config"))


class SweepWatcher:
    """Keeps a sweep's aggregates up to date."""

    def __init__(self, sweep: Path) -> None:
        self.sweep = sweep
        self.outcomes = OutcomeReader(sweep)
        self.aggregated = read_outcomes(aggregates_folder(sweep))
        self.pause_end = 0.0
        self.problem = ""  # what was in the way of the last rebuild

    def refresh(self) -> str:
        """Rebuilds the comparison and its aggregates if runs have ended since.

        Returns what is in the way; nothing if that was returned before.
        """
        outcomes = self.outcomes.read()
        if outcomes == self.aggregated or time.monotonic() < self.pause_end:
            return ""
        start, self.aggregated = time.monotonic(), outcomes
        problem = self._rebuild()
        seconds = time.monotonic() - start
        self.pause_end = time.monotonic() + max(REBUILD_PAUSE, REBUILD_PAUSE_FACTOR * seconds)
        is_new, self.problem = problem != self.problem, problem
        return problem if is_new else ""

    def _rebuild(self) -> str:
        try:
            rebuild(self.sweep, outputs=[write_aggregates])
        except (ValueError, OSError) as error:
            return str(error)
        return ""


class OutcomeReader:
    """Tells which runs of a sweep have ended. Reads a record again only if it was written again."""

    def __init__(self, sweep: Path) -> None:
        self.sweep = sweep
        self.seen: dict[Path, tuple[int, Outcome | None]] = {}
        """By path, when the record was written, and the outcome of a run that has ended."""

    def read(self) -> Outcomes:
        """Another set when a run has ended since, or ended anew."""
        paths = [path for path in self.sweep.glob("*/run.json") if path.exists()]
        self.seen = {path: self._read(path) for path in paths}
        return frozenset(each for _, each in self.seen.values() if each is not None)

    def _read(self, path: Path) -> tuple[int, Outcome | None]:
        written = path.stat().st_mtime_ns
        before = self.seen.get(path)
        return before if before and before[0] == written else (written, _read_outcome(path.parent))


def _read_outcome(run: Path) -> Outcome | None:
    try:
        return outcome_of(run.name, record.read(run))
    except ValueError:
        return None  # the comparison names it


def _logdir(sweeps: Sequence[Path], links: Path) -> Path:
    """The sweep itself or, of several, a folder with a link to each: so runs are `sweep/run`."""
    if len(sweeps) == 1:
        return sweeps[0]
    links.mkdir()
    for sweep in sweeps:
        (links / sweep.name).symlink_to(sweep, target_is_directory=True)
    return links


def newest_sweep(logs: Path) -> Path:
    """The sweep whose record was written last.

    Raises:
        ValueError: if there is none.
    """
    written = {path: path.stat().st_mtime_ns for path in logs.glob("*/*/run.json")}
    if written:
        return max(written, key=lambda path: written[path]).parents[1]
    launched = [path for path in logs.glob("*/") if record.is_sweep(path)]
    if launched:
        sweep = max(launched, key=lambda path: path.stat().st_mtime_ns)
        raise ValueError(
            f"expected a run in {sweep}, got a sweep with no run that began yet: try again in "
            "a moment"
        )
    raise ValueError(
        f"expected a sweep in {logs}, got none: launch one, such as {program.name()} train -m "
        "loss=mse,cross_entropy, or name its folder"
    )
