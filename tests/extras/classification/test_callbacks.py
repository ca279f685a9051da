"""What a run of a classifier shows in TensorBoard besides curves, and keeps of its predictions."""

import io
import shutil
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import lightning as L
import numpy as np
import pytest
import torch
from lightning.pytorch.loggers import TensorBoardLogger
from PIL import Image
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
from torch import nn

from runlab.extras.classification.callbacks import (
    Projector,
    confusion,
    first_layer,
    projector,
    sample_images,
)
from runlab.extras.classification.callbacks.predictions import gather_images
from runlab.runs import record
from runlab.stacks import train_together
from runlab.train import train
from tests.compose import compose
from tests.extras.classification.runs import (
    EVERYTHING,
    SLOW,
    TAGS,
    Album,
    Stop,
    TrainedRun,
    curves,
    events,
    pictures,
    steps,
    weights,
)

HELPERS = "tests.extras.classification.runs"
NOTHING = ["~callback.sample_images", "~callback.confusion", "~callback.first_layer"]


@pytest.fixture(scope="module")
def make(tmp_path_factory, tiny):
    def train_run(*overrides: str) -> TrainedRun:
        return TrainedRun(tmp_path_factory.mktemp("trained") / "run", *tiny, *overrides)

    return train_run


@pytest.fixture(scope="module")
def trained(make):
    """Two epochs, with every callback that shows something, and two loggers that show pictures."""
    Album.pictures = []
    album = f"+logger.album._target_={HELPERS}.Album"
    return make(SLOW, EVERYTHING, album, "+logger.album.save_dir=${run.folder}")


@pytest.fixture(scope="module")
def other(make):
    """Of another seed, loss and learning rate, on data whose classes are numbers."""
    arm = ["seed=1", "loss=mse", "optimizer.lr=0.1"]
    return make(EVERYTHING, *arm, f"data._target_={HELPERS}.Numbered")


@pytest.fixture(scope="module")
def in_small_batches(make):
    """As `trained`, but evaluated by 7 images at a time."""
    return make(SLOW, "+data.eval_batch_size=7")


@pytest.fixture
def run(tmp_path, tiny):
    def train_in(folder: str, *overrides: str) -> Path:
        (tmp_path / folder).mkdir(exist_ok=True)
        train(compose(*tiny, *overrides, folder=tmp_path / folder))
        return tmp_path / folder

    return train_in


@pytest.mark.long
def test_a_run_shows_pictures_after_each_of_a_few_validations(trained):
    shown = pictures(events(trained.folder))
    assert shown.keys() == TAGS
    for tag, each in shown.items():
        assert [step for step, _ in each] == [10, 20], tag
        for _, content in each:
            assert min(Image.open(io.BytesIO(content)).size) > 200
            assert len(content) < 20_000


def test_loggers_that_show_images_are_given_them(trained):
    assert set(Album.pictures) == {(tag, step) for tag in TAGS for step in (10, 20)}


def test_what_can_be_added_by_an_override_is_there(trained):
    found = events(trained.folder)
    parameters = [f"layers.{layer}.{kind}" for layer in (1, 3, 5) for kind in ("weight", "bias")]
    expected = {f"{of}/{name}" for of in ("weights", "gradients") for name in parameters}
    assert set(found.Tags()["histograms"]) == expected
    assert set(found.Tags()["tensors"]) >= {f"pr/{digit}" for digit in range(10)}
    assert found.Tags()["graph"]
    embedding = trained.folder / "00020" / "projector"
    assert len((embedding / "metadata.tsv").read_text().split()) == 40
    rows = (embedding / "tensors.tsv").read_text().splitlines()
    assert (len(rows), len(rows[0].split())) == (40, 64)
    with Image.open(embedding / "sprite.png") as sprite:
        assert sprite.size == (7 * 28, 7 * 28)


def test_predictions_are_those_that_were_tested(trained):
    kept = np.load(trained.folder / "predictions.npz")
    accuracy = (kept["label"] == kept["predicted"]).mean()
    assert accuracy == pytest.approx(trained.record["metrics"]["test/accuracy"])
    assert kept["label"].dtype == np.uint8
    assert kept["confidence"].dtype == np.float32
    assert len(kept["confidence"]) == trained.record["metrics"]["test/samples"]


def test_the_shares_of_two_ranks_are_one_whole_again(monkeypatch):
    whole = np.arange(5)

    def gather(shares, own):
        assert own[0].tolist() == [0, 2, 4]
        shares[:] = [[whole[0::2]], [whole[1::2]]]

    monkeypatch.setattr(torch.distributed, "all_gather_object", gather)
    batches = [(torch.tensor([0, 2]),), (torch.tensor([4]),)]
    assert gather_images(batches, 2)[0].tolist() == [0, 1, 2, 3, 4]


def test_the_fixed_images_are_the_same_in_every_run(trained, other):
    fixed = [*trained.batches[::2], *other.batches[:1]]
    sums = {tuple(sorted(batch.images.sum(dim=(1, 2, 3)).tolist())) for batch in fixed}
    assert len(sums) == 1


def test_classes_may_be_numbers(other):
    assert steps(other.folder).keys() == TAGS


def test_the_worst_mistakes_are_those_of_the_whole_validation(trained, in_small_batches):
    assert len(in_small_batches.batches) == len(trained.batches) == 4
    for worst, whole in zip(in_small_batches.batches[1::2], trained.batches[1::2], strict=True):
        assert torch.equal(worst.images, whole.images)
        truth = worst.probabilities.gather(1, worst.labels.unsqueeze(1)).squeeze(1)
        assert torch.equal(truth, truth.sort().values)
        assert (worst.probabilities.argmax(dim=1) != worst.labels).all()


def test_the_confusion_matrix_counts_every_image(in_small_batches):
    accuracies = [value for _, value in curves(events(in_small_batches.folder))["val/accuracy"]]
    assert [counts.sum() for counts in in_small_batches.counts] == [40, 40]
    right = [np.trace(counts) / 40 for counts in in_small_batches.counts]
    assert right == pytest.approx(accuracies)


@pytest.mark.long
def test_pictures_change_nothing_of_a_run(run):
    model = ["model=cnn", "model.widths=[8,8]", "model.dropout=0.2"]
    with_all = run("all", SLOW, EVERYTHING, *model)
    without = run("none", SLOW, *NOTHING, *model)
    a, b = weights(with_all), weights(without)
    assert all(torch.equal(a[key], b[key]) for key in a)
    assert curves(events(with_all)) == curves(events(without))


@pytest.fixture(scope="module")
def unstopped(make):
    """Four epochs of a small network, with every callback that shows something."""
    return make(SLOW, EVERYTHING, "trainer.max_epochs=4", "model.widths=[16]").folder


@pytest.mark.long
@pytest.mark.parametrize("hook", ["second block", "validation end"])
def test_a_stopped_run_shows_each_picture_once(run, unstopped, hook):
    stop = f"+callback.stop._target_={HELPERS}.Stop"
    overrides = [SLOW, EVERYTHING, stop, "trainer.max_epochs=4", "model.widths=[16]"]
    Stop.hook = hook
    with pytest.raises(SystemExit, match="stopped by the test"):
        run("run", *overrides)
    stopped, reference = events(run("run", *overrides)), events(unstopped)
    assert pictures(stopped) == pictures(reference)
    for kind in ("histograms", "tensors"):
        assert sorted(stopped.Tags()[kind]) == sorted(reference.Tags()[kind])
    for tag in reference.Tags()["histograms"]:
        assert len(stopped.Histograms(tag)) == 4
    assert graphs(Path(stopped.path)) == graphs(unstopped) == 1


def graphs(folder: Path) -> int:
    files = [EventFileLoader(str(path)) for path in folder.glob("events*")]
    return sum(event.HasField("graph_def") for file in files for event in file.Load())


def test_a_run_that_starts_over_leaves_none_of_it(run, trained, tmp_path):
    shutil.copytree(trained.folder, tmp_path / "run")
    folder = run("run", SLOW, "overwrite=true")
    assert events(folder).Tags()["graph"] is False
    assert not list(folder.glob("projector_config.pbtxt"))
    assert not list(folder.glob("0*"))


def test_a_diverged_run_shows_what_it_came_to(run):
    folder = run("run", EVERYTHING, "loss=mse_logits", "optimizer.lr=1e6")
    assert steps(folder) == {tag: [10] for tag in TAGS}


@pytest.mark.parametrize("value", [torch.nan, torch.inf, 1e38])
def test_a_diverged_run_has_no_projector(tmp_path, caplog, monkeypatch, value):
    def diverged(network, images):
        return torch.full((len(images), 300), value).index_fill(1, torch.tensor(0), 1)

    monkeypatch.setattr(projector, "last_layer_inputs", diverged)
    trainer = L.Trainer(accelerator="cpu", logger=TensorBoardLogger(tmp_path, "", ""))
    batch = torch.rand(5, 1, 2, 2), torch.arange(5)
    trainer.datamodule = SimpleNamespace(
        classes=range(5), val_dataloader=lambda: [batch], on_after_batch_transfer=lambda b, _: b
    )
    module = L.LightningModule()
    module.network = nn.Identity()
    Projector().on_fit_end(trainer, module)
    trainer.logger.experiment.close()
    assert caplog.text.count("the projector shows nothing") == 1
    assert not (tmp_path / "00000").exists()

    monkeypatch.setattr(projector, "last_layer_inputs", lambda network, images: images.flatten(1))
    Projector().on_fit_end(trainer, module)
    trainer.logger.experiment.close()
    assert (tmp_path / "00000").exists()


@pytest.mark.long
def test_every_run_of_a_stack_shows_its_pictures(run):
    folders = train_together([partial(run, f"{seed}", SLOW, f"seed={seed}") for seed in (0, 1)], 2)
    for folder in folders:
        assert record.read(folder)["timing"]["stack"] == 2
        assert steps(folder) == {tag: [10, 20] for tag in TAGS}


def test_nothing_is_drawn_for_loggers_that_do_not_show_it(run, monkeypatch):
    monkeypatch.setattr(sample_images, "draw_images", None)
    monkeypatch.setattr(confusion, "draw_confusion_matrix", None)
    monkeypatch.setattr(first_layer, "draw_weights", None)
    run("run", "logger=csv")


def test_of_a_network_that_begins_otherwise_no_weights_are_shown(run):
    folder = run("run", SLOW, "model=linear", f"model._target_={HELPERS}.Odd")
    assert steps(folder).keys() == TAGS - {"weights/first_layer"}


def test_a_run_on_what_are_no_images_shows_what_it_can(run):
    data, model = f"data._target_={HELPERS}.Series", f"model._target_={HELPERS}.OfSeries"
    folder = run("run", SLOW, EVERYTHING, data, "model=linear", model)
    assert steps(folder) == {"errors/confusion": [10, 20]}
    embedding = folder / "00020" / "projector"
    assert set((embedding / "metadata.tsv").read_text().split()) == set(map(str, range(10)))
    assert not (embedding / "sprite.png").exists()
