"""Two TensorBoards over the same sweeps: their runs, and what is concluded from them."""

import time
from collections.abc import Sequence
from pathlib import Path

from runlab.analysis.rebuild import rebuild
from runlab.config.axes import Axes
from runlab.extras.dashboard import servers
from runlab.extras.dashboard.aggregates import (
    Outcome,
    Outcomes,
    aggregates_folder,
    outcome,
    read_outcomes,
    write_aggregates,
)
from runlab.extras.dashboard.events import EVENTS
from runlab.runs import record
from runlab.text import printable

CHECK_INTERVAL = 5.0
"""Seconds between two looks at the records."""

REBUILD_PAUSE = 30.0
REBUILD_PAUSE_FACTOR = 10.0
"""Between two rebuilds: seconds at least, and how many times what the last one took."""

FIRST_RUN_TIMEOUT = 15.0
"""Seconds for a TensorBoard to read its first run, where there is one."""


class Dashboard:
    """Starts both TensorBoards, the second on the next port.

    `folder` is an empty one for links to the sweeps, needed if there are several.

    Raises:
        ValueError: if a sweep is none, two have the same name, or a port is in use.
    """

    def __init__(self, sweeps: Sequence[Path], port: int, folder: Path) -> None:
        names = [sweep.name for sweep in sweeps]
        if len(set(names)) < len(names):
            raise ValueError(f"expected sweeps of different names, got {', '.join(names)}")
        for sweep in sweeps:
            record.folders(sweep)  # says what is wrong with one that has no runs
        self.watchers = [SweepWatcher(sweep) for sweep in sweeps]
        self.refresh()
        for sweep in sweeps:
            aggregates_folder(sweep).mkdir(exist_ok=True)  # empty as long as no run has ended
        runs = dict(zip(names, sweeps, strict=True))
        aggregates = {name: aggregates_folder(sweep) for name, sweep in runs.items()}
        self.urls = [
            servers.start(_logdir(runs, folder / "runs"), port),
            servers.start(_logdir(aggregates, folder / "aggregates"), port and port + 1),
        ]
        for url, folders in zip(self.urls, (runs, aggregates), strict=True):
            if any(any(each.glob(f"*/{EVENTS}.*")) for each in folders.values()):
                servers.wait_for_runs(url, FIRST_RUN_TIMEOUT)
        shown, means = self.urls
        self.links = servers.make_links(shown, means, [axes_of(sweep) for sweep in sweeps])

    def refresh(self) -> None:
        """Updates the aggregates of all sweeps, and prints what is newly in the way."""
        for watcher in self.watchers:
            if problem := watcher.refresh():
                print(printable(f"{watcher.sweep.name}: {problem}", keep="\n"), flush=True)

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


def axes_of(sweep: Path) -> Axes:
    """By what its runs are compared, as the first that can be read says."""
    entry = next((entry for _, entry in record.readable(sweep)), {})
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
        return before if before and before[0] == written else (written, _outcome_of(path.parent))


def _outcome_of(run: Path) -> Outcome | None:
    try:
        entry = record.read(run)
    except ValueError:
        return None  # the comparison names it
    if entry["status"] not in record.ENDED:
        return None
    return outcome(run.name, record.nested_dict(entry, "timing").get("latest"))


def _logdir(folders: dict[str, Path], links: Path) -> Path:
    """The folder itself or, of several, one with a link to each: so runs are `sweep/run`."""
    if len(folders) == 1:
        return next(iter(folders.values()))
    links.mkdir()
    for name, folder in folders.items():
        (links / name).symlink_to(folder)
    return links


def newest_sweep(logs: Path) -> Path:
    """The sweep whose record was written last.

    Raises:
        ValueError: if there is none.
    """
    written = {path: path.stat().st_mtime_ns for path in logs.glob("*/*/run.json")}
    if written:
        return max(written, key=lambda path: written[path]).parents[1]
    launched = [path for path in logs.glob("*/") if _is_launched(path)]
    if launched:
        sweep = max(launched, key=lambda path: path.stat().st_mtime_ns)
        raise ValueError(
            f"expected a run in {sweep}, got a sweep with no run that began yet: try again in "
            "a moment"
        )
    raise ValueError(
        f"expected a sweep in {logs}, got none: launch one, such as python scripts/train.py -m "
        "loss=mse,cross_entropy, or name its folder"
    )


def _is_launched(sweep: Path) -> bool:
    """Whether Hydra has made it, though it may have no record as yet."""
    return (sweep / "multirun.yaml").exists() or any(sweep.glob("*/.hydra"))
