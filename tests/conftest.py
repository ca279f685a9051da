"""Shapes and dtypes in signatures are checked while tests run; the data set is a tiny one."""

import logging
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch
from jaxtyping import install_import_hook

import tests.typechecker  # noqa: F401  the hook finds it by name
from runlab import program
from tests.commands import Commands
from tests.idx import write_idx

install_import_hook(["losslab", "runlab"], "tests.typechecker.check")
import_module("losslab")  # which declares what the program is called
torch.set_num_threads(1)  # several test processes share the cores
for name in ("COLUMNS", "NO_COLOR", "FORCE_COLOR"):  # what is printed is what everybody gets
    os.environ.pop(name, None)

ON_REQUEST = ("long", "browser", "zsh", "slurm", "gpu")
LONGEST = [
    *("test_stacked", "test_docs", "test_membership", "test_resume", "test_train"),
    *("test_sweep", "test_stack", "test_benchmark", "test_search", "test_kill"),
]
left_out: Counter[str] = Counter()


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """With `-m gpu` other tests are not even imported: that machine may lack what they need."""
    if config.option.markexpr != "gpu":
        return None
    gpu = Path(__file__).parent / "gpu"
    is_needed = gpu.is_relative_to(collection_path) or collection_path.is_relative_to(gpu)
    return None if is_needed else True


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first, so that no worker has one left when the others are through."""
    items.sort(key=lambda item: LONGEST.index(item.path.stem) if item.path.stem in LONGEST else 99)


def pytest_deselected(items: Sequence[pytest.Item]) -> None:
    left_out.update(name for item in items for name in ON_REQUEST if item.get_closest_marker(name))


def pytest_sessionfinish(session: pytest.Session) -> None:
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["left_out"] = dict(left_out)


@pytest.hookimpl(optionalhook=True)  # xdist's
def pytest_testnodedown(node: Any) -> None:
    if not left_out:  # every worker counts all of them; one that crashed says nothing
        left_out.update(getattr(node, "workeroutput", {}).get("left_out", {}))


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """One line that says which tests did not run, and how to run them."""
    if told := ", ".join(f"{left_out[name]} by -m {name}" for name in ON_REQUEST if left_out[name]):
        terminalreporter.write_line(f"Left out, and run by python -m pytest: {told}")


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """200 training and 50 test images in MNIST's own format; read-only by agreement."""
    folder = tmp_path_factory.mktemp("data")
    write_idx(folder)
    return folder


@pytest.fixture(scope="session")
def commands() -> Iterator[Commands]:
    """Runs a script as a user does, in a process of its own."""
    with Commands() as started:
        yield started


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    """Hydra configures logging for the process, onto streams that pytest then closes."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    for handler in [handler for handler in root.handlers if handler not in handlers]:
        root.removeHandler(handler)
        handler.close()
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture(autouse=True)
def _no_sweep_is_told_of() -> Iterator[None]:
    """A sweep tells its runs, in whatever process, of itself; this one goes on with other tests."""
    yield
    of_runs = [name for name in os.environ if name.startswith("RUNLAB_")]
    for name in set(of_runs) - {program.VARIABLE}:
        del os.environ[name]


@pytest.fixture(scope="session")
def tiny(data_dir: Path) -> list[str]:
    """Overrides for runs of well under a second on that data set."""
    return [
        f"data_dir={data_dir}",
        "data.verify=false",
        "data.train_size=160",
        "data.val_size=40",
        "data.batch_size=16",
        "data.steps_per_execution=4",
        "trainer=cpu",
        "trainer.max_epochs=2",
    ]
