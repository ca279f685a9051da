"""What may be deleted: each room of extras, with its script, its configuration and its tests.

Each is deleted in a copy, where everything can be imported and a sweep trained without it; the
contracts have to hold without any of them.
"""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.compose import ROOT
from tests.test_structure import EXTRAS

BLOBS = '''
import torch
from runlab.blocks.loader import Samples
from runlab.data import Content, TensorData


class Blobs(TensorData):
    """Four clouds of points, so that something can be classified where there are no images."""

    classes = ("a", "b", "c", "d")

    def __init__(self, shape, num_classes: int, **loading) -> None:
        super().__init__(**loading)
        self.shape, self.num_classes = tuple(shape), num_classes

    def read(self) -> Content:
        generator = torch.Generator().manual_seed(0)
        targets = torch.arange(250) % 4
        inputs = torch.randn(250, 1, 8, 8, generator=generator)
        inputs.flatten(1)[torch.arange(250), targets] += 4
        train, test = Samples(inputs[:200], targets[:200]), Samples(inputs[200:], targets[200:])
        return Content(train, test, "blobs")
'''
BLOBS_YAML = """
_target_: losslab.data.blobs.Blobs
train_size: 160
val_size: 40
batch_size: 16
seed: ${seed}
steps_per_execution: 4
shape: [1, 8, 8]
num_classes: 4
"""


KEPT = ("test_deletable.py", "test_structure.py")
"""Tests that name every room."""


def copy_of_the_repository(folder: Path) -> Path:
    for name in ("src", "conf", "scripts", "tests"):
        ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
        shutil.copytree(ROOT / name, folder / name, ignore=ignored)
    for name in ("pyproject.toml", "README.md", "Makefile"):
        shutil.copy(ROOT / name, folder / name)
    return folder


def delete(home: Path, extra: str) -> None:
    """The room and whatever names it: commands, configuration, the template's components, tests."""
    named = re.compile(rf"runlab\.extras\.{extra}\b|runlab\.extras import .*\b{extra}\b")
    place = home / "src" / "runlab" / "extras" / extra
    shutil.rmtree(place) if place.is_dir() else place.with_suffix(".py").unlink()
    table = home / "src" / "losslab" / "__main__.py"
    for entry in re.findall(r"^ {8}Command\(\n.*?^ {8}\),\n", table.read_text(), re.S | re.M):
        if named.search(entry):
            table.write_text(table.read_text().replace(entry, ""))
            name = entry.split('"')[1].replace("-", "_")
            (home / "scripts" / f"{name}.py").unlink()
            (home / "conf" / f"{name}.yaml").unlink(missing_ok=True)
    for folder in ("src/losslab", "tests"):
        for path in (home / folder).rglob("*.py"):
            if named.search(path.read_text()) and path.name not in KEPT:
                path.unlink()
    for path in (home / "conf").rglob("*.yaml"):
        text = path.read_text()
        if not named.search(text):
            continue
        if named.search(text.partition("_target_:")[2].partition("\n")[0]):  # a component
            path.unlink()
            for other in (home / "conf").rglob("*.yaml"):
                kept = [each for each in other.read_text().splitlines(keepends=True)
                        if each.strip() != f"- {path.stem}"]  # fmt: skip
                other.write_text("".join(kept))
        else:
            kept = [e for e in text.splitlines(keepends=True) if not named.search(e)]
            path.write_text("".join(kept))


def bring_other_data(home: Path) -> None:
    """Where the template's data modules were of the room that went."""
    room = home / "src" / "losslab" / "data" / "__init__.py"
    imports = [e for e in room.read_text().splitlines() if e.startswith("from ")]
    room.write_text("\n".join(each for each in imports if "mnist" not in each) + "\n")
    (home / "src" / "losslab" / "data" / "blobs.py").write_text(BLOBS)
    for path in [
        *(home / "src/losslab/data").glob("*mnist*"),
        *(home / "conf/data").glob("*mnist*"),
    ]:
        path.unlink()
    (home / "conf" / "data" / "blobs.yaml").write_text(BLOBS_YAML)
    train = home / "conf" / "train.yaml"
    train.write_text(train.read_text().replace("- data: mnist", "- data: blobs"))


def run(home: Path, *command: str) -> subprocess.CompletedProcess[str]:
    paths = {"PYTHONPATH": str(home / "src"), "PATH": "/usr/bin:/bin", "HOME": str(home)}
    return subprocess.run(
        [sys.executable, *command], cwd=home, env=paths, capture_output=True, text=True
    )


TRAIN_WITH_ALL_IMPORTED = """
import importlib, pkgutil, runpy, losslab, runlab
for package in (losslab, runlab):
    for found in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        if not found.name.endswith("__main__"):
            importlib.import_module(found.name)
runpy.run_path("scripts/train.py", run_name="__main__")
"""


@pytest.mark.long
@pytest.mark.parametrize("extra", EXTRAS)
def test_an_extra_can_be_deleted(tmp_path, tiny, extra):
    home = copy_of_the_repository(tmp_path)
    delete(home, extra)
    overrides = with_other_data_where_mnist_went(home, tiny)
    assert_nothing_names(home, extra)
    assert_a_sweep_is_concluded(home, overrides)
    aggregates = (home / "logs" / "sweep.aggregates").exists()
    assert aggregates == (extra != "dashboard")


@pytest.mark.long
def test_all_extras_can_be_deleted_and_the_contracts_hold(tmp_path, tiny):
    home = copy_of_the_repository(tmp_path)
    for extra in EXTRAS:
        delete(home, extra)
        assert_nothing_names(home, extra)
    overrides = with_other_data_where_mnist_went(home, tiny)
    # they train on MNIST's files
    left_out = ["-k", "not a_run_alone_loads and not only_watches_changes_no_result"]
    tests = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/test_contracts.py"]
    contracts = run(home, *tests, "tests/test_structure.py", *left_out)
    assert contracts.returncode == 0, contracts.stdout[-3000:]
    assert_a_sweep_is_concluded(home, overrides)


def with_other_data_where_mnist_went(home: Path, tiny: list[str]) -> list[str]:
    """The overrides of a short run."""
    if (home / "src" / "losslab" / "data" / "mnist.py").exists():
        return tiny
    bring_other_data(home)
    return ["trainer=cpu", "trainer.max_epochs=2"]


def assert_nothing_names(home: Path, extra: str) -> None:
    named = subprocess.run(
        ["grep", "-rnE", rf"extras[./]{extra}\b", "src", "conf", "scripts"],
        cwd=home, capture_output=True, text=True,
    ).stdout  # fmt: skip
    assert named == ""


def assert_a_sweep_is_concluded(home: Path, overrides: list[str]) -> None:
    sweep = ["-m", *overrides, "loss=mse,cross_entropy", "name=sweep"]
    trained = run(home, "-c", TRAIN_WITH_ALL_IMPORTED, *sweep)
    assert trained.returncode == 0, trained.stderr[-3000:]
    assert (home / "logs" / "sweep" / "comparison" / "comparison.html").exists()
