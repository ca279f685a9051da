"""What is read from a checkpoint is what was saved there, and of the run that reads it."""

import random
import re
import shutil
from pathlib import Path
from typing import Any, ClassVar
from zipfile import ZipFile

import lightning as L
import pytest
import torch
from omegaconf import OmegaConf

from runlab.runs import checkpoint
from runlab.train import train
from tests.compose import compose

FEW = ["logger=none", "callback=checkpoint", "data.steps_per_execution=2"]


@pytest.fixture
def run(tmp_path, tiny):
    def train_in(folder: str, *overrides: str) -> dict[str, Any] | None:
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        return train(compose(*tiny, *FEW, *overrides, folder=tmp_path / folder))

    return train_in


@pytest.fixture(scope="module")
def finished(tmp_path_factory, tiny):
    folder = tmp_path_factory.mktemp("finished")
    train(compose(*tiny, *FEW, "model=linear", folder=folder))
    return folder


def same(a: Any, b: Any) -> bool:
    """Bit for bit, of nested plain values and tensors."""
    if isinstance(a, torch.Tensor) or isinstance(b, torch.Tensor):
        return isinstance(b, torch.Tensor) and a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, dict):
        return isinstance(b, dict) and [*a] == [*b] and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return type(a) is type(b) and len(a) == len(b) and all(map(same, a, b))
    return type(a) is type(b) and a == b


def flipped(content: bytes, bit: int) -> bytes:
    changed = bytearray(content)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def test_a_flipped_bit_is_refused_or_changes_nothing(finished, tmp_path):
    content = (finished / "checkpoints" / "best.ckpt").read_bytes()
    whole = checkpoint.read(finished / "checkpoints" / "best.ckpt")
    assert same(whole, whole)
    draw, refused = random.Random(0), 0
    bits = [draw.randrange(8 * len(content)) for _ in range(30)]
    at_the_ends = [draw.randrange(8_000) for _ in range(15)]
    bits += at_the_ends + [8 * len(content) - 1 - each for each in at_the_ends]
    for bit in bits:
        path = tmp_path / "flipped.ckpt"
        path.write_bytes(flipped(content, bit))
        try:
            read = checkpoint.read(path)
        except checkpoint.DamagedError:
            refused += 1
        else:
            assert same(read, whole), bit
    assert refused > 40


def test_a_part_that_is_said_to_be_a_folder_is_refused(finished, tmp_path):
    """Torch leaves it unread, and takes what lies in memory there for weights."""
    content = (finished / "checkpoints" / "best.ckpt").read_bytes()
    entries = [found.start() for found in re.finditer(rb"PK\x01\x02", content)]
    assert len(entries) > 4
    path = tmp_path / "flipped.ckpt"
    for entry in entries:
        path.write_bytes(flipped(content, 8 * (entry + 38) + 4))
        with pytest.raises(checkpoint.DamagedError, match="a damaged file: its part archive/"):
            checkpoint.read(path)


def flip_weights(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(flipped(content, 4 * len(content)))  # in the middle: among the weights


def test_lightnings_own_reading_is_verified_too(finished, tmp_path):
    path = tmp_path / "flipped.ckpt"
    shutil.copy(finished / "checkpoints" / "last.ckpt", path)
    flip_weights(path)
    with pytest.raises(ValueError, match=r"a damaged file: the checksum of its part archive/data"):
        checkpoint.AtomicCheckpointIO().load_checkpoint(path)


class Flip(L.Callback):
    """Flips a bit of a checkpoint once training has ended, and stops the process if asked to."""

    def __init__(self, path: str, stop: bool = False) -> None:
        self.path, self.stop = Path(path), stop

    def on_fit_end(self, trainer, pl_module):
        if not Flip.done:
            Flip.done = True
            flip_weights(self.path)
            if self.stop:
                raise SystemExit("stopped by the test")

    done = False


FLIP = ["+callback.flip._target_=tests.runs.test_checkpoint.Flip"]
CHECKPOINTS = "+callback.flip.path=${run.folder}/checkpoints"
BEST, LAST = f"{CHECKPOINTS}/best.ckpt", f"{CHECKPOINTS}/last.ckpt"


def test_a_damaged_best_checkpoint_is_not_tested(run):
    Flip.done = False
    with pytest.raises(ValueError, match=r"best\.ckpt, got a damaged file"):
        run("run", *FLIP, BEST)


@pytest.mark.long
@pytest.mark.parametrize(("damaged", "resumed"), [(LAST, 1), (BEST, 0)])
def test_a_run_goes_on_from_what_is_whole_and_has_its_best_weights(run, caplog, damaged, resumed):
    Flip.done = False
    flip = [*FLIP, damaged, "+callback.flip.stop=true"]
    slow = ["optimizer.lr=0.02"]
    with pytest.raises(SystemExit, match="stopped by the test"):
        run("run", *flip, *slow)
    entry = run("run", *flip, *slow)
    name = damaged.rpartition("/")[2]
    assert f"{name}: cannot go on from it (a damaged file: the checksum of" in caplog.text
    assert entry["timing"]["resumed"] == resumed
    assert entry["metrics"] == run("other", *flip, *slow)["metrics"]


def test_what_is_said_of_a_damaged_checkpoint_moves_no_cursor(run, tmp_path, caplog):
    saved = tmp_path / "run" / "checkpoints" / "a\x1b[2J.ckpt"
    saved.parent.mkdir(parents=True)
    with ZipFile(saved, "w") as archive:
        archive.writestr("b\x1b[2J", "content")
    content = saved.read_bytes()
    saved.write_bytes(content.replace(b"content", b"changed"))
    run("run", "trainer.max_epochs=1")
    assert r"a\x1b[2J.ckpt: cannot go on from it (a damaged file: the checksum" in caplog.text
    assert r"its part b\x1b[2J is" in caplog.text
    assert "\x1b" not in caplog.text
    assert saved.with_name(f"{saved.name}.unreadable").exists()


@pytest.mark.filterwarnings("ignore:Checkpoint directory .* is not empty")
def test_files_of_others_below_a_folder_for_checkpoints_keep_their_names(run, tmp_path):
    other = tmp_path / "scratch" / "other" / "model.ckpt"
    other.parent.mkdir(parents=True)
    other.write_text("of another program")
    run("run", *placed(tmp_path))
    assert other.read_text() == "of another program"


def test_the_newest_checkpoint_is_gone_on_from_whatever_its_name_and_folder(run, tmp_path):
    Stop.epoch = 1
    overrides = [
        "+callback.stop._target_=tests.runs.test_checkpoint.Stop",
        "callback.last.dirpath=${run.folder}/elsewhere",
        "callback.last.filename=newest",
        "trainer.max_epochs=3",
        "optimizer.lr=0",  # so that the first epoch stays the best one
    ]
    with pytest.raises(SystemExit, match="stopped by the test"):
        run("run", *overrides)
    entry = run("run", *overrides)
    assert entry["timing"]["resumed"] == 1
    assert Stop.seen == [0, 1, 2, 2], "it has trained an epoch again"


class Stop(L.Callback):
    epoch: int | None = None
    seen: ClassVar[list[int]] = []

    def on_train_epoch_start(self, trainer, pl_module):
        Stop.seen.append(trainer.current_epoch)
        if Stop.epoch is not None and trainer.current_epoch > Stop.epoch:
            Stop.epoch = None
            raise SystemExit("stopped by the test")


@pytest.mark.long
def test_a_run_may_keep_checkpoints_where_its_own_name_says(run, tmp_path):
    place = f"callback.last.dirpath={tmp_path}/scratch/${{run.name}}"
    entry = run("run", place)
    assert place in entry["overrides"], "as it was given: it means another place for another run"
    [saved] = (tmp_path / "scratch").glob("*/last.ckpt")
    assert "dirpath=" in saved.parent.name
    replaced = run("run", place, "overwrite=true")
    assert replaced["timing"]["resumed"] == 0


def test_one_folder_for_the_checkpoints_of_two_runs_is_refused_before_training(run, tmp_path):
    shared = f"callback.best.dirpath={tmp_path}/shared"
    run("first", shared, "seed=0")
    before = (tmp_path / "shared" / "best.ckpt").read_bytes()
    with pytest.raises(ValueError, match=r"shared with best\.ckpt of another run .*seed: 0 -> 1"):
        run("second", shared, "seed=1")
    with pytest.raises(ValueError, match=r"shared with best\.ckpt of another run .*seed: 0 -> 1"):
        run("second", shared, "seed=1", "overwrite=true")
    assert (tmp_path / "shared" / "best.ckpt").read_bytes() == before


def placed(tmp_path: Path) -> list[str]:
    return [f"callback.{name}.dirpath={tmp_path}/scratch" for name in ("best", "last")]


@pytest.mark.long
@pytest.mark.parametrize("kept", [[], ["+callback.last.save_weights_only=true", "~callback.best"]])
@pytest.mark.parametrize("more", [[], ["overwrite=true"]])
def test_a_sweep_leaves_alone_the_checkpoints_of_another_with_the_same_runs(
    run, tmp_path, more, kept
):
    overrides = [*(each for each in placed(tmp_path) if "best" not in each or not kept), *kept]
    run("one/run", *overrides, "name=one")
    before = contents(tmp_path / "scratch")
    message = r"\.ckpt of another run \(one/run, not two/run\): .*/\$\{name\}/\$\{run\.name\}'"
    (tmp_path / "two" / "run").mkdir(parents=True)
    (tmp_path / "two" / "run" / "run.json").write_text("")
    with pytest.raises(ValueError, match=message):
        run("two/run", *overrides, "name=two", *more)
    assert contents(tmp_path / "scratch") == before


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_sweeps_that_are_moved_go_on_with_checkpoints_elsewhere(run, tmp_path):
    Stop.epoch = 0
    overrides = [*placed(tmp_path), "+callback.stop._target_=tests.runs.test_checkpoint.Stop"]
    with pytest.raises(SystemExit, match="stopped by the test"):
        run("logs/one/run", *overrides)
    (tmp_path / "logs").rename(tmp_path / "moved")
    assert run("moved/one/run", *overrides)["timing"]["resumed"] == 1


def test_a_renamed_run_finds_its_best_weights_behind_a_link(run, tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "one" / "run").mkdir(parents=True)
    (tmp_path / "one" / "run" / "checkpoints").symlink_to(tmp_path / "disk")
    Stop.epoch = 0
    stop = ["+callback.stop._target_=tests.runs.test_checkpoint.Stop", "optimizer.lr=0"]
    with pytest.raises(SystemExit, match="stopped by the test"):
        run("one/run", *stop)
    (tmp_path / "one").rename(tmp_path / "two")
    entry = run("two/run", *stop)
    assert (entry["timing"]["resumed"], entry["metrics"]["best_epoch"]) == (1, 0)


def test_anothers_best_weights_elsewhere_are_not_tested_for_this_ones(run, tmp_path):
    replace = ["+callback.replace._target_=tests.runs.test_checkpoint.Replace"]
    replace += [f"+callback.replace.source={tmp_path}/source.ckpt", *placed(tmp_path)]
    run("one/run", *replace)
    (tmp_path / "scratch" / "best.ckpt").rename(tmp_path / "source.ckpt")
    (tmp_path / "scratch" / "last.ckpt").unlink()
    with pytest.raises(ValueError, match=r"best\.ckpt of another run \(one/run, not two/run\)"):
        run("two/run", *replace)


@pytest.mark.long
@pytest.mark.parametrize("is_torn", [True, False])
@pytest.mark.parametrize("changed", ["versions", "data"])
def test_without_a_record_too_a_run_goes_on_with_the_same_versions_and_data_only(
    run, tmp_path, changed, is_torn
):
    Stop.epoch = 0
    stop = ["+callback.stop._target_=tests.runs.test_checkpoint.Stop"]
    with pytest.raises(SystemExit, match="stopped by the test"):
        run("run", *stop)
    record = tmp_path / "run" / "run.json"
    record.write_text("") if is_torn else record.unlink()
    path = tmp_path / "run" / "checkpoints" / "last.ckpt"
    content = torch.load(path, weights_only=True)
    content["hyper_parameters"]["origin"] |= (
        {"data": "0"} if changed == "data" else {"versions": {"torch": "1.13"}}
    )
    torch.save(content, path)
    before = contents(path.parent)
    message = {"versions": r"other versions \(.*torch: 1\.13 -> ", "data": r"expected the data of"}
    with pytest.raises(ValueError, match=rf"{message[changed]}.*overwrite=true"):
        run("run", *stop)
    assert contents(path.parent) == before


class Other(L.Callback):
    """Trains another run with the same folder for checkpoints in the middle of this one."""

    error = ""

    def __init__(self, dirpath: str, folder: str) -> None:
        self.dirpath, self.folder = dirpath, Path(folder)

    def on_train_epoch_start(self, trainer, pl_module):
        config = OmegaConf.create(pl_module.hparams["config"])
        with pytest.raises(ValueError, match="to which another run writes now") as raised:
            self.train(config)
        Other.error = str(raised.value)

    def train(self, config):
        run = {"name": "other", "position": "", "folder": str(self.folder / "other")}
        run |= {"overrides": [], "choices": {}}
        config = OmegaConf.merge(config, {"seed": 1, "run": run})
        (self.folder / "other").mkdir(exist_ok=True)
        train(config)


@pytest.mark.long
def test_nor_may_two_runs_write_to_one_at_the_same_time(run, tmp_path):
    run(
        "run",
        f"callback.best.dirpath={tmp_path}/shared",
        "+callback.other._target_=tests.runs.test_checkpoint.Other",
        f"+callback.other.dirpath={tmp_path}/shared",
        f"+callback.other.folder={tmp_path}",
        "trainer.max_epochs=1",
    )
    assert "checkpoints of other alone, got" in Other.error


class Replace(L.Callback):
    """Puts another run's checkpoint in the place of the best one."""

    def __init__(self, source: str) -> None:
        self.source = source

    def on_fit_end(self, trainer, pl_module):
        if Path(self.source).exists():
            shutil.copy(self.source, trainer.checkpoint_callback.best_model_path)


def test_another_runs_weights_are_not_tested_for_this_ones(run, finished):
    replace = ["+callback.replace._target_=tests.runs.test_checkpoint.Replace"]
    replace += [f"+callback.replace.source={finished}/checkpoints/best.ckpt", "model=linear"]
    with pytest.raises(ValueError, match=r"holds a run of another configuration"):
        run("run", *replace, "seed=5")


# What is kept of callbacks has to be readable again


class Unloadable(L.Callback):
    """Keeps a path in its state, which `torch.load(weights_only=True)` refuses."""

    def __init__(self, after: int = 0) -> None:
        self.after, self.epochs = after, 0

    def on_train_epoch_start(self, trainer, pl_module):
        self.epochs += 1

    def state_dict(self):
        return {"path": Path("somewhere")} if self.epochs > self.after else {}


@pytest.mark.parametrize("after", [0, 1])
def test_callback_state_that_cannot_be_loaded_ends_the_run_at_its_first_save(run, tmp_path, after):
    overrides = ["+callback.own._target_=tests.runs.test_checkpoint.Unloadable"]
    overrides += [f"+callback.own.after={after}", "trainer.max_epochs=5"]
    message = r"keeps of the callback Unloadable to be tensors and plain.*pathlib.*Path"
    with pytest.raises(ValueError, match=message):
        run("run", *overrides)
    saved = tmp_path / "run" / "checkpoints" / "last.ckpt"
    assert saved.exists() == (after == 1)
    if after:
        assert torch.load(saved, weights_only=True)["epoch"] == 0


# Which checkpoint is the best one


def test_the_mode_of_the_best_checkpoint_follows_its_metric(run, tmp_path):
    entry = run("run", "callback.best.monitor=val/loss", "trainer.max_epochs=4")
    assert entry["config"]["callback"]["best"]["mode"] == "min"
    assert entry["metrics"]["best_epoch"] == 3, "the loss of a run that learns falls"


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["callback.best.monitor=val/loss", "callback.best.mode=max"],
            r"expected callback\.best\.mode=min, as the module declares val/loss, got max",
        ),
        (
            [
                "+callback.early._target_=lightning.pytorch.callbacks.EarlyStopping",
                "+callback.early.monitor=val/accuracy",
            ],
            r"expected callback\.early\.mode=max, as the module declares val/accuracy, got min",
        ),
        (
            ["callback.best.monitor=val/own"],
            r"expected callback\.best\.mode=min or max, as the module declares no measure val/own",
        ),
        (
            [
                "callback.best.monitor=val/nll",
                "+callback.other._target_=lightning.pytorch.callbacks.ModelCheckpoint",
                "+callback.other.monitor=val/loss",
            ],
            r"expected one callback that keeps the best checkpoint.* val/loss, val/nll: drop",
        ),
    ],
    ids=["contradicts", "by default", "unknown", "ambiguous"],
)
def test_what_is_better_is_said_once(run, overrides, message):
    with pytest.raises(ValueError, match=message):
        run("run", *overrides)


def test_the_best_is_what_monitors_a_metric_whatever_comes_first(run, tmp_path, tiny):
    cfg = compose(*tiny, *FEW, "optimizer.lr=0.5", "trainer.max_epochs=3", folder=tmp_path)
    nodes = OmegaConf.to_container(cfg.callback)
    cfg.callback = {"last": nodes["last"], "by_loss": {**nodes["best"], "monitor": "val/loss",
        "filename": "by_loss", "mode": "min"}, "best": nodes["best"]}  # fmt: skip
    entry = train(cfg)
    best = checkpoint.read(tmp_path / "checkpoints" / "best.ckpt")
    assert entry["metrics"]["best_epoch"] == best["epoch"]
    assert entry["metrics"]["val/accuracy"] == best["runlab"]["metrics"]["val/accuracy"]
