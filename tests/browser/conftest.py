"""A sweep of 40 runs on MNIST, TensorBoard over it, and a browser whose pages are watched."""

import csv
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from playwright.sync_api import Browser, Page, expect

from runlab.runs import record
from tests.browser.chromium import chromium, executable, watch
from tests.browser.server import tensorboard
from tests.compose import ROOT

GRID = ["loss=mse,cross_entropy", "optimizer.lr=0.05,0.1,0.2,0.5", "seed=0,1,2,3,4"]
WIDTH, HEIGHT = 1280, 900
expect.set_options(timeout=60_000)  # milliseconds; cores may be few
HAS_FAILED = pytest.StashKey[bool]()

OpenTab = Callable[..., Page]


def pytest_collection_finish(session: pytest.Session) -> None:
    """One sentence instead of an error for each test."""
    if any(item.get_closest_marker("browser") for item in session.items):
        try:
            executable()
        except LookupError as error:
            raise pytest.UsageError(str(error)) from None


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    report = yield
    item.stash[HAS_FAILED] = item.stash.get(HAS_FAILED, False) or report.failed
    return report


@pytest.fixture(scope="session")
def train() -> Callable[..., None]:
    """Launches a sweep as a user does, on MNIST: `train("seed=0,1", to=folder)`."""

    def train(*overrides: str, to: Path) -> None:
        script = [sys.executable, str(ROOT / "scripts" / "train.py"), "-m"]
        target = [f"name={to.name}", f"hydra.sweep.dir={to}"]
        process = subprocess.run(
            [*script, *overrides, *target], cwd=ROOT, capture_output=True, text=True
        )
        if process.returncode:
            pytest.fail(f"{process.stdout[-2000:]}\n{process.stderr[-2000:]}", pytrace=False)

    return train


@pytest.fixture(scope="session")
def sweep(train: Callable[..., None], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """2 losses × 4 learning rates × 5 seeds, 2 epochs each."""
    folder = tmp_path_factory.mktemp("logs") / "forty"
    train(*GRID, "trainer.max_epochs=2", "hydra/launcher=stacked", to=folder)
    return folder


@pytest.fixture(scope="session")
def records(sweep: Path) -> dict[str, dict[str, Any]]:
    """Each run's record, by the run's name, sorted."""
    return {folder.name: record.read(folder) for folder in record.folders(sweep)}


@pytest.fixture(scope="session")
def last_epochs(sweep: Path, records: dict[str, Any]) -> dict[str, dict[str, str]]:
    """The last row of each run's curves, as the run itself keeps them."""
    return {run: read_last_row(sweep / run / "curves.csv") for run in records}


def read_last_row(path: Path) -> dict[str, str]:
    with path.open() as file:
        return list(csv.DictReader(file))[-1]


@pytest.fixture(scope="session")
def sweep_url(sweep: Path, records: dict[str, Any]) -> Iterator[str]:
    """The address of TensorBoard over the sweep."""
    with tensorboard(sweep, len(records)) as url:
        yield url


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def page(browser: Browser, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Page]:
    """A page of a fresh profile; a failed test leaves `page.png` and `trace.zip` in `tmp_path`.

    What `watch` finds fails the test.
    """
    context = browser.new_context(viewport={"width": WIDTH, "height": HEIGHT})
    context.tracing.start(screenshots=True, snapshots=True)
    page = context.new_page()
    problems = watch(page)
    yield page
    if problems or request.node.stash.get(HAS_FAILED, False):
        page.screenshot(path=tmp_path / "page.png")
        context.tracing.stop(path=tmp_path / "trace.zip")
        print(f"see {tmp_path / 'page.png'}, and `playwright show-trace {tmp_path / 'trace.zip'}`")
    context.close()
    assert problems == []


@pytest.fixture
def open_tab(page: Page) -> OpenTab:
    """Opens a tab of TensorBoard: `open_tab(address, "timeseries", tagFilter="val/")`."""

    def open_tab(address: str, tab: str, **query: str) -> Page:
        page.goto(f"{address}?{urlencode(query)}#{tab}")
        return page

    return open_tab
