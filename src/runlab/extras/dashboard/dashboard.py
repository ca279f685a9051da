"""Two TensorBoards over the same sweeps: their runs, and what is concluded from them."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from runlab.extras.dashboard import servers
from runlab.extras.dashboard.aggregates import EVENTS, aggregates_folder
from runlab.extras.dashboard.links import links
from runlab.extras.dashboard.rebuild import rebuild, rebuilt
from runlab.extras.dashboard.sweeps import Outcomes
from runlab.runs import record

LOOK = 5.0
"""Seconds between two looks at the records."""

REST = 30.0
REST_FACTOR = 10.0
"""Between two rebuilds: seconds at least, and how many times what the last one took."""

PATIENCE = 15.0
"""Seconds for a TensorBoard to read its first run, where there is one."""


@dataclass
class Board:
    """A sweep whose aggregates are kept up to date."""

    sweep: Path
    outcomes: Outcomes = field(init=False)
    built: frozenset[tuple[str, int]] = frozenset()
    due: float = 0.0
    problem: str = ""

    def __post_init__(self) -> None:
        self.outcomes = Outcomes(self.sweep)
        self.built = rebuilt(self.sweep)

    def refresh(self) -> str:
        """Rebuilds the comparison and its aggregates if runs have ended since; what is in its way.

        Empty where nothing is, or nothing new.
        """
        ended = self.outcomes.look()
        if ended == self.built or time.monotonic() < self.due:
            return ""
        began, self.built = time.monotonic(), ended
        problem = self._rebuild()
        took = time.monotonic() - began
        self.due = time.monotonic() + max(REST, REST_FACTOR * took)
        is_new, self.problem = problem != self.problem, problem
        return problem if is_new else ""

    def _rebuild(self) -> str:
        try:
            rebuild(self.sweep)
        except (ValueError, OSError) as error:
            return str(error)
        return ""


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
        self.boards = [Board(sweep) for sweep in sweeps]
        self.refresh()
        for sweep in sweeps:
            aggregates_folder(sweep).mkdir(exist_ok=True)  # empty as long as no run has ended
        runs = dict(zip(names, sweeps, strict=True))
        aggregates = {name: aggregates_folder(sweep) for name, sweep in runs.items()}
        self.urls = [
            servers.start(_logdir(runs, folder / "runs"), port),
            servers.start(_logdir(aggregates, folder / "aggregates"), port and port + 1),
        ]
        for url, places in zip(self.urls, (runs, aggregates), strict=True):
            if any(any(place.glob(f"*/{EVENTS}.*")) for place in places.values()):
                servers.wait_for_runs(url, PATIENCE)
        self.links = links(*self.urls)

    def refresh(self) -> None:
        for board in self.boards:
            if problem := board.refresh():
                print(f"{board.sweep.name}: {problem}", flush=True)

    def stay(self) -> None:
        """Keeps the aggregates up to date, until a TensorBoard is gone: then raises ValueError."""
        while True:
            time.sleep(LOOK)
            self.refresh()
            for url in self.urls:
                try:
                    servers.runs_shown(url)
                except OSError as error:
                    raise ValueError(
                        f"the TensorBoard at {url} does not answer: {error}"
                    ) from error


def _logdir(folders: dict[str, Path], links: Path) -> Path:
    """The folder itself or, of several, one with a link to each: so runs are `sweep/run`."""
    if len(folders) == 1:
        return next(iter(folders.values()))
    links.mkdir()
    for name, folder in folders.items():
        (links / name).symlink_to(folder)
    return links
