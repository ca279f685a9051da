"""The pages' examples, copied from them and launched as a user would; what the contracts find."""

import csv
import json
import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from runlab.runs import record
from tests.commands import ROOT

# the test's own process has imported what the copied tests would rewrite
PYTEST = ["-m", "pytest", "-p", "no:cacheprovider", "-W", "ignore::pytest.PytestWarning"]
CONTRACTS = [*PYTEST, "tests/test_contracts.py", "-k"]
README = (ROOT / "README.md").read_text()
PAGE = (ROOT / "docs" / "contract.md").read_text()
LEVELS = re.findall(r"\n### (Level \d.*?)(?=\n##)", PAGE, re.DOTALL)
MOST_LINES = 60
ONE_PROCESS = ["trainer=cpu", "hydra.launcher.processes=1"]  # by default one for each core

SOUND = {
    "src/losslab/models/rgb_net.py": """
from torch import nn

class RgbNet(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.LazyLinear(2))
""",
    "conf/model/rgb_net.yaml": "_target_: losslab.models.rgb_net.RgbNet",
    "src/losslab/models/frozen_features.py": """
from torch import nn

class FrozenFeatures(nn.Sequential):
    def __init__(self, inputs: int, num_classes: int):
        features = nn.Linear(inputs, 8).requires_grad_(False)
        super().__init__(nn.Flatten(), features, nn.ReLU(), nn.Linear(8, num_classes))
""",
    "conf/model/frozen_features.yaml": """
_target_: losslab.models.frozen_features.FrozenFeatures
inputs: 784
num_classes: ${data.num_classes}
""",
    "src/losslab/losses/log_cosh.py": '''
from torch import nn

class LogCosh(nn.Module):
    """(1/n) Σ_i log cosh(z_i − y_i)."""

    def forward(self, outputs, targets):
        if outputs.shape != targets.shape:
            raise ValueError("expected targets of the outputs' shape")
        return (outputs - targets).cosh().log().mean()
''',
    "conf/loss/log_cosh.yaml": "_target_: losslab.losses.log_cosh.LogCosh",
    "src/losslab/data/named_batches.py": """
import lightning as L
import torch
from torch.utils.data import DataLoader

class NamedBatches(L.LightningDataModule):
    def __init__(self, shape, seed: int):
        super().__init__()
        self.shape = shape

    def train_dataloader(self):
        samples = [{"image": torch.rand(*self.shape), "age": float(i)} for i in range(8)]
        return DataLoader(samples, batch_size=4)

    val_dataloader = test_dataloader = train_dataloader
""",
    "conf/data/named_batches.yaml": """
_target_: losslab.data.named_batches.NamedBatches
shape: [3, 8, 8]
seed: ${seed}
""",
}
"""Of each kind what the contract allows, and a classifier of small grey images would not have."""

BROKEN = {
    "src/losslab/models/broken_detached.py": """
from losslab.models.linear import Linear

class BrokenDetached(Linear):
    def forward(self, inputs):
        return super().forward(inputs).detach().requires_grad_()
""",
    "src/losslab/models/broken_batch.py": """
from losslab.models.linear import Linear

class BrokenBatch(Linear):
    def forward(self, inputs):
        return super().forward(inputs - inputs.mean(0))
""",
    "src/losslab/losses/broken_sum.py": '''
import torch
from losslab.losses.cross_entropy import CrossEntropy

class BrokenSum(CrossEntropy):
    """A sum."""

    def forward(self, outputs, labels):
        return len(labels) * super().forward(outputs, labels)
''',
    "src/losslab/losses/broken_sign.py": '''
from losslab.losses.cross_entropy import CrossEntropy

class BrokenSign(CrossEntropy):
    """Climbs."""

    def forward(self, outputs, labels):
        return -super().forward(outputs, labels)
''',
    "src/losslab/losses/broken_chances.py": '''
from losslab.losses.cross_entropy import CrossEntropy

class BrokenChances(CrossEntropy):
    """They do not sum to 1."""

    def probabilities(self, outputs):
        """sigmoid(z)."""
        return outputs.sigmoid()
''',
    "src/losslab/data/broken_data.py": """
from losslab.data import MNIST

class BrokenData(MNIST):
    classes = ("one", "two")
""",
    "src/losslab/callbacks/broken_watcher.py": """
import lightning as L
import torch

class BrokenWatcher(L.Callback):
    def on_train_start(self, trainer, module):
        with torch.no_grad():
            next(module.parameters()).mul_(0.5)
""",
    "conf/callback/broken_watcher.yaml": """
# @package _global_
callback:
  broken_watcher:
    _target_: losslab.callbacks.broken_watcher.BrokenWatcher
watchers:
  broken_watcher: true
""",
    "src/losslab/modules/broken_step.py": """
from losslab.classifier import Classifier

class BrokenStep(Classifier):
    def loss_step(self, inputs, targets):
        return None
""",
    "conf/module/broken_step.yaml": """
_target_: losslab.modules.broken_step.BrokenStep
num_classes: ${data.num_classes}
""",
    "conf/optimizer/broken_ascent.yaml": """
_target_: torch.optim.SGD
_partial_: true
lr: 0.1
maximize: true
""",
    "src/losslab/losses/broken_lonely.py": "class BrokenLonely:\n    pass\n",
}
"""Each has one fault; what is derived from a component takes over its YAML file."""

BASES = {
    "models": ("model", "linear"), "losses": ("loss", "cross_entropy"), "data": ("data", "mnist")
}  # fmt: skip


def blocks(page: str) -> dict[str, str]:
    """A page's code blocks whose first line names a file, by that name."""
    found = re.findall(
        r"```(?:python|yaml)\n# (\S+\.(?:py|yaml))\n(.*?)```", page, re.DOTALL
    )  # fmt: skip
    return dict(found)


def write(root: Path, files: dict[str, str]) -> None:
    for path, content in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(content.lstrip("\n"))


@pytest.fixture
def copy(tmp_path) -> Path:
    """The project, so that the example lies where the page says."""
    for folder in ("src", "conf", "scripts", "tests"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


@pytest.mark.long
def test_the_readmes_new_loss_is_one_python_file_and_one_yaml_file(copy, commands, tiny):
    files = blocks(README)
    assert sorted(path.rsplit(".", 1)[1] for path in files) == ["py", "yaml"]
    write(copy, files)
    [choice] = [Path(path).stem for path in files if "conf/" in path]
    done = commands.run(copy, "scripts/train.py", *tiny, f"loss={choice}", root=copy)
    assert done.returncode == 0, done.stderr
    assert "test " in done.stdout
    done = commands.run(copy, *CONTRACTS, choice, root=copy)
    assert done.returncode == 0, done.stdout
    assert " passed" in done.stdout


@pytest.mark.long
@pytest.mark.parametrize("level", range(3))
def test_the_example_of_each_level_trains_and_is_compared(level, copy, commands, tiny):
    files = blocks(LEVELS[level])
    assert all(len(content.splitlines()) < MOST_LINES for content in files.values())
    write(copy, files)
    [line] = re.findall(r"^losslab (train .*)$", LEVELS[level], re.MULTILINE)
    own = ONE_PROCESS if "stacked" in line else []
    done = commands.run(copy, "-m", "losslab", *shlex.split(line), *own, *tiny, root=copy)
    assert done.returncode == 0, done.stderr + done.stdout
    [name] = re.findall(r"\bname=(\w+)", line)
    sweep = copy / "logs" / name
    entries = [json.loads(path.read_text()) for path in sweep.glob("*/run.json")]
    assert {entry["status"] for entry in entries} == {"finished"}
    assert len(entries) == 8
    arms = (sweep / "comparison" / "arms.csv").read_text().splitlines()
    assert len(arms) == 3, "a header and two arms"
    if "metric=f1" in line:  # mixup's
        assert {entry["measures"][0]["name"] for entry in entries} == {"f1"}
        assert "macro-F1" in done.stdout
    if own:
        assert {entry["timing"]["stack"] for entry in entries} == {4}, "those of an arm"
    names = [Path(path).stem for path in files]
    done = commands.run(copy, *CONTRACTS, " or ".join(names), root=copy)
    assert done.returncode == 0, done.stdout


@pytest.mark.long
def test_the_pages_data_and_metric_train_together(copy, commands):
    files = blocks(PAGE)
    wanted = {path: text for path, text in files.items() if re.search("spirals|precision", path)}
    assert len(wanted) == 3
    write(copy, wanted)
    [data] = re.findall(r"^losslab (train data=spirals .*)$", PAGE, re.MULTILINE)
    [metric] = re.findall(r"^losslab train (metric=.*)$", PAGE, re.MULTILINE)
    done = commands.run(
        copy, "-m", "losslab", *shlex.split(f"{data} {metric}"), "trainer=cpu", root=copy
    )
    assert done.returncode == 0, done.stderr + done.stdout
    [entry] = [json.loads(path.read_text()) for path in copy.glob("logs/*/*/run.json")]
    assert entry["measures"][0]["name"] == "precision"
    assert {"val/precision", "test/precision", "test/accuracy"} <= entry["metrics"].keys()
    done = commands.run(copy, *CONTRACTS, "spirals or precision", root=copy)
    assert done.returncode == 0, done.stdout


def leaves(folder: Path) -> None:
    """Two classes of coloured images, of several sizes."""
    random = np.random.default_rng(0)
    for name, colour in (("maple", (180, 40, 20)), ("oak", (30, 150, 40))):
        (folder / name).mkdir(parents=True)
        for i in range(32):
            noise = random.integers(-30, 30, (30 + i, 40, 3))
            Image.fromarray((noise + colour).clip(0, 255).astype(np.uint8)).save(
                folder / name / f"{i}.jpg"
            )


def houses(file: Path) -> None:
    """A price by three features, and noise of half a unit."""
    random = np.random.default_rng(0)
    features = random.normal(size=(400, 3))
    price = features @ [3.0, -2.0, 1.0] + 0.5 * random.normal(size=400)
    np.savetxt(
        file, np.column_stack([features, price]), "%.6f", ",", comments="",
        header="area,age,rooms,price",
    )  # fmt: skip


def launched(copy: Path, commands, name: str, *overrides: str) -> tuple[str, list[dict]]:
    """What the page's command of this data set prints, and its runs' records."""
    files = blocks(PAGE)
    path = f"conf/data/{name}.yaml"
    write(copy, {path: files[path]})
    [line] = re.findall(rf"^losslab (train .* data={name} .*)$", PAGE, re.MULTILINE)
    done = commands.run(
        copy, "-m", "losslab", *shlex.split(line), *ONE_PROCESS, *overrides, root=copy
    )
    assert done.returncode == 0, done.stderr + done.stdout
    entries = [json.loads(each.read_text()) for each in copy.glob(f"logs/{name}/*/run.json")]
    # which one is left to rounding: on some processors a run of the page's leaves diverges
    assert {entry["status"] for entry in entries} <= {*record.ENDED}
    return done.stdout, entries


@pytest.mark.long  # it has 11 million parameters
def test_a_resnet_on_a_folder_of_coloured_images_is_stacked_and_compared(copy, commands):
    leaves(copy / "data" / "leaves")
    own = ["data.batch_size=8", "data.val_size=0.2", "trainer.max_epochs=2"]
    printed, entries = launched(copy, commands, "leaves", *own)
    assert "mse_logits" in printed
    assert len(entries) == 8
    assert {entry["timing"]["stack"] for entry in entries} == {4}, "those of a loss"
    assert {entry["config"]["model"]["_args_"][0]["in_channels"] for entry in entries} == {3}
    best = max(entry["metrics"]["test/accuracy"] for entry in entries)
    assert best > 0.9, "the colours tell the classes apart"


@pytest.mark.long  # 36 runs
def test_a_table_by_three_losses_is_compared_by_rmse_with_a_margin(copy, commands):
    (copy / "data").mkdir()
    houses(copy / "data" / "houses.csv")
    printed, entries = launched(copy, commands, "houses", "trainer.max_epochs=10")
    assert len(entries) == 36
    assert {entry["timing"]["stack"] for entry in entries} == {12}, "those of a loss"
    assert "RMSE" in printed
    assert "within ±0.5" in printed
    with (copy / "logs" / "houses" / "comparison" / "arms.csv").open() as file:
        arms = {row["arm"]: float(row["test_mean"]) for row in csv.DictReader(file)}
    assert arms.keys() == {"squared_error", "l1", "huber"}
    assert all(0.4 < rmse < 1.0 for rmse in arms.values()), "noise is 0.5, prices vary by 3.8"


@pytest.mark.long
def test_the_contracts_take_whatever_the_contract_allows(copy, commands):
    write(copy, SOUND | blocks(LEVELS[0]))
    names = sorted({Path(path).stem for path in SOUND} | {"autoencoder"})
    done = commands.run(copy, *CONTRACTS, " or ".join(names), root=copy)
    assert done.returncode == 0, done.stdout
    [passed] = re.findall(r"(\d+) passed", done.stdout)
    assert int(passed) >= 3 * len(names)


@pytest.mark.long
def test_the_contracts_find_each_fault(copy, commands):
    write(copy, BROKEN)
    (copy / "src" / "losslab" / "modules" / "__init__.py").touch()
    for path in map(Path, BROKEN):
        room, stem = path.parent.name, path.stem
        if room in BASES and stem != "broken_lonely":
            group, base = BASES[room]
            name = stem.title().replace("_", "")
            yaml = f"defaults: [{base}, _self_]\n_target_: losslab.{room}.{stem}.{name}\n"
            write(copy, {f"conf/{group}/{stem}.yaml": yaml})
    done = commands.run(copy, *CONTRACTS, "broken", "-rf", "-n", "0", root=copy)
    assert done.returncode == 1, done.stdout + done.stderr
    found = set(re.findall(r"^FAILED .*?(broken_\w+)", done.stdout, re.MULTILINE))
    assert found == {Path(path).stem for path in BROKEN}, done.stdout
    assert "losses/broken_lonely.py needs conf/loss/broken_lonely.yaml" in done.stdout
