"""The folder that bad inputs are given in: data, a sweep, images, tables and configurations."""

import csv
from pathlib import Path

import torch
from PIL import Image, ImageDraw

from runlab.analysis.rebuild import rebuild
from runlab.train import train
from tests.compose import compose
from tests.idx import write_idx

TINY = (
    *("data_dir=data", "data.verify=false", "data.train_size=160", "data.val_size=40"),
    *("data.batch_size=16", "data.steps_per_execution=4", "trainer=cpu", "trainer.max_epochs=2"),
)
"""Overrides for runs of well under a second on the data of `build`."""

PACKAGE = "# @package _global_\n"
EXPERIMENTS = {
    "no_package": "trainer:\n  max_epochs: 1\n",
    "no_default": PACKAGE + "defaults:\n  - nope\n",
    "no_group": PACKAGE + "defaults:\n  - override /nope: mse\n",
    "no_override": PACKAGE + "defaults:\n  - /loss: mse\n",
    "late_override": PACKAGE + "defaults:\n  - override /hydra/launcher: nope\n",
    "override_typo": PACKAGE + "defaults:\n  - override /loss: msee\n",
    "bad_yaml": PACKAGE + "trainer: {max_epochs: 1\n",
    "tabs": PACKAGE + "trainer:\n\tmax_epochs: 1\n",
    "list": PACKAGE + "- 1\n- 2\n",
    "typo": PACKAGE + "sed: 1\n",
    "typo_deep": PACKAGE + "trainer:\n  max_epoch: 1\n",
    "self_twice": PACKAGE + "defaults:\n  - _self_\n  - _self_\n",
    "cycle": PACKAGE + "defaults:\n  - cycle\n",
    "interpolation": PACKAGE + "trainer:\n  max_epochs: ${nope.deep}\n",
    "wrong_type": PACKAGE + "seed: abc\n",
    "sweep_typo": PACKAGE + "hydra:\n  sweeper:\n    parms:\n      seed: 1,2\n",
}
COMPONENTS = {
    "optimizer/no_lr": "_target_: torch.optim.SGD\n_partial_: true\n",
    "optimizer/no_target": "lr: 0.1\n",
    "model/no_target": "widths: [8]\n",
    "model/twelve": "_target_: losslab.models.Linear\nshape: ${data.shape}\nnum_classes: 12\n",
    "loss/empty": "",
    "callback/no_target": "mine:\n  patience: 3\n",
}


SWEPT = ("{", "logs", "half.ckpt", "other.ckpt")
"""What occurs in a command that needs a sweep."""


def build(folder: Path) -> None:
    """Fills the folder with all but a sweep."""
    write_idx(folder / "data")
    (folder / "empty").mkdir()
    (folder / "notes.txt").write_text("no data, no image and no checkpoint\n")
    write_configurations(folder / "conf")
    write_tables(folder / "tables")
    write_images(folder)


def write_configurations(folder: Path) -> None:
    files = {f"experiment/{name}": text for name, text in EXPERIMENTS.items()} | COMPONENTS
    for name, text in files.items():
        path = folder / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (folder / "experiment" / "latin.yaml").write_bytes(b"# @package _global_\nname: gr\xf6\xdfe\n")


def write_tables(folder: Path) -> None:
    folder.mkdir()
    rows = [[i, i % 5, i % 2] for i in range(60)]
    tables = {
        "good": [["x", "y", "target"], *rows],
        "header": [["x", "y", "target"]],
        "text": [["x", "y", "target"], *[[x, "red", t] for x, _, t in rows]],
        "gap": [["x", "y", "target"], *[[x, "" if x == 7 else y, t] for x, y, t in rows]],
        "ragged": [["x", "y", "target"], [1, 2, 0], [1, 2, 0, 4, 5]],
        "empty": [],
    }
    for name, table in tables.items():
        with (folder / f"{name}.csv").open("w", newline="") as file:
            csv.writer(file).writerows(table)


def write_images(folder: Path) -> None:
    images = folder / "images"
    images.mkdir()
    seven = Image.new("L", (100, 100), 255)
    ImageDraw.Draw(seven).line([(30, 20), (70, 20), (45, 80)], fill=0, width=9)
    seven.save(images / "seven.png")
    Image.new("L", (100, 100), 255).save(images / "blank.png")
    (images / "broken.png").write_bytes((images / "seven.png").read_bytes()[:60])
    for name in ("good", "broken"):
        for number, kind in enumerate(("cat", "dog")):
            place = folder / "pictures" / name / kind
            place.mkdir(parents=True)
            for i in range(20):
                Image.new("RGB", (8, 8), (i, 100 * number, 50)).save(place / f"{i}.png")
    (folder / "pictures" / "broken" / "cat" / "0.png").write_bytes(b"no image")
    (folder / "pictures" / "empty").mkdir()


def write_sweep(folder: Path) -> None:
    """Trains `logs/small`, of two losses, rates and seeds, and damages copies of parts of it."""
    sweep = folder / "logs" / "small"
    for loss in ("cross_entropy", "mse"):
        for rate in ("0.1", "0.5"):
            for seed in (0, 1):
                own = f"loss={loss}", f"optimizer.lr={rate}", f"seed={seed}"
                run = sweep / f"loss={loss},lr={rate},seed={seed}"
                fast = "logger=none", "callback=[checkpoint,stop_on_divergence]"
                data = f"data_dir={folder / 'data'}"
                train(compose(*TINY, data, *fast, *own, folder=run))
    rebuild(sweep)
    run = sweep / "loss=mse,lr=0.1,seed=0"
    for name, text in (("damaged", "{"), ("future", '{"status": "finished", "layout": 99}')):
        (folder / "logs" / name / "run").mkdir(parents=True)
        (folder / "logs" / name / "run" / "run.json").write_text(text)
    best = run / "checkpoints" / "best.ckpt"
    (folder / "half.ckpt").write_bytes(best.read_bytes()[:1000])
    torch.save({"state_dict": {}}, folder / "other.ckpt")
