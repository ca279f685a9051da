"""Shapes and dtypes in signatures are checked while tests run; the data set is a tiny one."""

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from jaxtyping import install_import_hook

import tests.typechecker  # noqa: F401  the hook finds it by name
from tests.idx import write_idx

install_import_hook("losslab", "tests.typechecker.check")
torch.set_num_threads(1)  # several test processes share the cores


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """200 training and 50 test images in MNIST's own format; read-only by agreement."""
    folder = tmp_path_factory.mktemp("data")
    write_idx(folder)
    return folder


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
