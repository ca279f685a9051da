"""What a run shows in TensorBoard besides curves."""

import io
from functools import partial
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import pytest
import torch
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from lightning.pytorch.loggers.logger import DummyLogger
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
from torch import nn

from losslab.data import MNIST
from runlab.callbacks import Histograms
from runlab.callbacks.pictures import due, shows_pictures
from runlab.extras.classification.callbacks import confusion, first_layer, projector, sample_images
from runlab.extras.classification.callbacks.sample_images import Shown
from runlab.runs import record
from runlab.stacks import train_together
from runlab.train import train
from tests.compose import compose
from tests.runs.test_resume import STOP, Stop, curves, weights

TAGS = {"digits/fixed", "digits/worst", "errors/confusion", "weights/first_layer"}
EVERYTHING = "callback=[default,histograms,pr_curves,graph,projector]"
NOTHING = ["~callback.sample_images", "~callback.confusion", "~callback.first_layer"]
SLOW = "optimizer.lr=0.005"  # so that mistakes are left


@pytest.fixture
def run(tmp_path, tiny):
    def train_in(folder: str, *overrides: str) -> Path:
        (tmp_path / folder).mkdir(exist_ok=True)
        train(compose(*tiny, *overrides, folder=tmp_path / folder))
        return tmp_path / folder

    return train_in


def events(folder: Path) -> EventAccumulator:
    found = EventAccumulator(
        str(folder), size_guidance={"images": 0, "histograms": 0, "tensors": 0}
    )
    return found.Reload()


def pictures(folder: Path) -> dict[str, list[tuple[int, bytes]]]:
    found = events(folder)
    return {
        tag: [(image.step, image.encoded_image_string) for image in found.Images(tag)]
        for tag in found.Tags()["images"]
    }


def steps(folder: Path) -> dict[str, list[int]]:
    return {tag: [step for step, _ in shown] for tag, shown in pictures(folder).items()}


def test_a_run_shows_pictures_after_each_of_a_few_validations(run):
    shown = pictures(run("run", SLOW))
    assert shown.keys() == TAGS
    assert sorted(shown)[0].startswith("digits/")  # what TensorBoard's Images begin with
    for tag, each in shown.items():
        assert [step for step, _ in each] == [10, 20], tag
        for _, content in each:
            assert min(Image.open(io.BytesIO(content)).size) > 200
            assert len(content) < 20_000


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["trainer.max_epochs=12"], [20, 40, 60, 80, 100, 120]),
        (["trainer.max_epochs=11"], [20, 40, 60, 80, 100, 110]),
        (["trainer.max_epochs=7", "+trainer.val_check_interval=2"],
         [8, 18, 28, 38, 48, 58, 68]),
        (["trainer.max_epochs=4", "+trainer.val_check_interval=1"],
         [8, 14, 20, 28, 34, 40]),
        (["trainer.max_epochs=5", "+trainer.check_val_every_n_epoch=2"], [20, 40]),
        (["trainer.max_epochs=5", "+trainer.check_val_every_n_epoch=null",
          "+trainer.val_check_interval=5"], [18, 34, 50]),
    ],
)  # fmt: skip
def test_at_most_ten_validations_are_drawn_and_the_last_one(run, overrides, expected):
    model = ["model=linear", "~callback.sample_images", "~callback.confusion"]
    assert steps(run("run", *model, *overrides)) == {"weights/first_layer": expected}


def test_all_validations_are_drawn_where_a_runs_length_is_not_known():
    assert due(L.Trainer(max_steps=5, accelerator="cpu", logger=False))


def test_all_validations_are_drawn_where_they_come_by_the_clock():
    trainer = L.Trainer(max_epochs=2, accelerator="cpu", logger=False)
    trainer.fit_loop.max_batches, trainer.val_check_batch = 10, None  # as Lightning leaves them
    assert due(trainer)


def test_a_logger_of_nothing_shows_no_pictures():
    assert not shows_pictures(DummyLogger())


def test_pictures_change_nothing_of_a_run(run):
    with_all = run("all", SLOW, EVERYTHING, "model=cnn", "model.dropout=0.2")
    without = run("none", SLOW, *NOTHING, "model=cnn", "model.dropout=0.2")
    a, b = weights(with_all, "last.ckpt"), weights(without, "last.ckpt")
    assert all(torch.equal(a[key], b[key]) for key in a)
    assert curves(with_all) == curves(without)


@pytest.mark.parametrize(("hook", "epoch"), [("second block", 2), ("validation end", 2)])
def test_a_stopped_run_shows_each_picture_once(run, hook, epoch):
    overrides = [SLOW, EVERYTHING, STOP, "trainer.max_epochs=4"]
    Stop.at(hook, epoch)
    with pytest.raises(SystemExit, match="stopped by the test"):
        run("run", *overrides)
    stopped, reference = run("run", *overrides), run("reference", *overrides)
    assert pictures(stopped) == pictures(reference)
    for kind in ("histograms", "tensors"):
        assert sorted(events(stopped).Tags()[kind]) == sorted(events(reference).Tags()[kind])
    for tag in events(reference).Tags()["histograms"]:
        assert len(events(stopped).Histograms(tag)) == 4
    assert graphs(stopped) == graphs(reference) == 1


def graphs(folder: Path) -> int:
    files = [EventFileLoader(str(path)) for path in folder.glob("events*")]
    return sum(event.HasField("graph_def") for file in files for event in file.Load())


def test_what_can_be_added_by_an_override_is_there(run):
    folder = run("run", SLOW, EVERYTHING)
    found = events(folder)
    parameters = [f"layers.{layer}.{kind}" for layer in (1, 3, 5) for kind in ("weight", "bias")]
    expected = {f"{of}/{name}" for of in ("weights", "gradients") for name in parameters}
    assert set(found.Tags()["histograms"]) == expected
    assert set(found.Tags()["tensors"]) >= {f"pr/{digit}" for digit in range(10)}
    assert found.Tags()["graph"]
    embedding = folder / "00020" / "projector"
    assert len((embedding / "metadata.tsv").read_text().split()) == 40
    rows = (embedding / "tensors.tsv").read_text().splitlines()
    assert (len(rows), len(rows[0].split())) == (40, 64)
    with Image.open(embedding / "sprite.png") as sprite:
        assert sprite.size == (7 * 28, 7 * 28)


def test_a_run_that_starts_over_leaves_none_of_it(run):
    folder = run("run", SLOW, EVERYTHING)
    run("run", SLOW, "overwrite=true")
    assert events(folder).Tags()["graph"] is False
    assert not list(folder.glob("projector_config.pbtxt"))
    assert not list(folder.glob("0*"))


def test_a_diverged_run_shows_what_it_came_to(run):
    folder = run("run", EVERYTHING, "loss=mse_logits", "optimizer.lr=1e6")
    assert steps(folder) == {tag: [10] for tag in TAGS}


@pytest.mark.parametrize("values", [[1e20, -3e38, 1.0], [1e20, 1e30, torch.nan]])
def test_values_beyond_tensorboards_scale_are_left_out_of_histograms(tmp_path, values):
    logger = TensorBoardLogger(tmp_path, name="", version="")
    trainer = L.Trainer(accelerator="cpu", logger=logger)
    Histograms().show(trainer, "weights", {"w": torch.tensor(values), "v": torch.full((9,), 1e19)})
    logger.experiment.close()
    found = events(tmp_path)
    counts = {tag: found.Histograms(tag)[0].histogram_value.num for tag in ("weights/v",)}
    assert counts == {"weights/v": 9}
    assert ("weights/w" in found.Tags()["histograms"]) == (1.0 in values)


@pytest.mark.parametrize("value", [torch.nan, torch.inf, 1e38])
def test_a_diverged_run_has_no_projector(run, caplog, monkeypatch, value):
    def last_inputs(network, images):
        return torch.full((len(images), 300), value).index_fill(1, torch.tensor(0), 1)

    monkeypatch.setattr(projector, "last_inputs", last_inputs)
    folder = run("run", EVERYTHING, "trainer.max_epochs=1")
    assert caplog.text.count("the projector shows nothing") == 1
    assert not (folder / "00010").exists()


def test_every_run_of_a_stack_shows_its_pictures(run):
    folders = train_together([partial(run, f"{seed}", SLOW, f"seed={seed}") for seed in (0, 1)], 2)
    for folder in folders:
        assert record.read(folder)["timing"]["stack"] == 2
        assert steps(folder) == {tag: [10, 20] for tag in TAGS}


class Album(CSVLogger):
    """Has Lightning's `log_image`, as WandbLogger."""

    shown: list[Any]

    def log_image(self, key: str, images: list[Any], step: int | None = None) -> None:
        Album.shown.append((key, step, images[0].size))


def test_loggers_that_show_images_are_given_them(run):
    Album.shown = []
    album = "+logger.album._target_=tests.callbacks.test_pictures.Album"
    run("run", SLOW, album, "+logger.album.save_dir=${run.folder}")
    assert {(key, step) for key, step, _ in Album.shown} == {(t, s) for t in TAGS for s in (10, 20)}


def test_nothing_is_drawn_for_loggers_that_do_not(run, monkeypatch):
    monkeypatch.setattr(digits, "picture", None)
    monkeypatch.setattr(confusion, "picture", None)
    monkeypatch.setattr(first_layer, "picture", None)
    run("run", "logger=csv")


@pytest.fixture
def drawn(monkeypatch):
    """The arguments of each picture of digits and of the confusion matrix."""
    calls: dict[str, list[Any]] = {"digits": [], "confusion": []}
    for module in (digits, confusion):
        name, draw = module.__name__.rpartition(".")[2], module.picture

        def spy(values, classes, name=name, draw=draw):
            calls[name].append(values)
            return draw(values, classes)

        monkeypatch.setattr(module, "picture", spy)
    return calls


def test_the_fixed_images_are_the_same_in_every_run(run, drawn):
    run("a", SLOW, "~callback.confusion")
    run("b", "seed=1", "loss=mse", "optimizer.lr=0.1", "~callback.confusion")
    sums = {tuple(sorted(each.images.sum(dim=(1, 2, 3)).tolist())) for each in drawn["digits"][::2]}
    assert len(sums) == 1


def test_the_worst_mistakes_are_those_of_the_whole_validation(run, drawn):
    run("run", SLOW, "trainer.max_epochs=1", "+data.eval_batch_size=7", "~callback.confusion")
    whole = drawn["digits"][-1]
    run("again", SLOW, "trainer.max_epochs=1", "~callback.confusion")
    assert torch.equal(whole.images, drawn["digits"][-1].images)
    truth = whole.probabilities.gather(1, whole.labels.unsqueeze(1)).squeeze(1)
    assert torch.equal(truth, truth.sort().values)
    assert (whole.probabilities.argmax(dim=1) != whole.labels).all()


def test_the_confusion_matrix_counts_every_image(run, drawn):
    folder = run("run", SLOW, "+data.eval_batch_size=7")
    accuracies = [float(value) for _, value in curves(folder)["val/accuracy"]]
    assert [counts.sum() for counts in drawn["confusion"]] == [40, 40]
    right = [np.trace(counts) / 40 for counts in drawn["confusion"]]
    assert right == pytest.approx(accuracies)


def test_mistakes_come_first_then_the_least_likely_truth():
    probabilities = torch.tensor([[0.9, 0.1], [0.4, 0.6], [0.2, 0.8], [0.6, 0.4], [torch.nan] * 2])
    shown = Shown(torch.rand(5, 1, 2, 2), torch.zeros(5, dtype=torch.int64), probabilities)
    assert sample_images.worst_first(shown).tolist() == [4, 2, 1, 3, 0]


def test_the_hardest_images_look_like_another_class():
    images = torch.tensor([[0.0], [0.1], [0.2], [0.9], [1.0], [0.8]]).view(6, 1, 1, 1)
    labels = torch.tensor([0, 0, 0, 0, 1, 1])
    assert sample_images.hardest(images, labels, 3, 1).tolist() == [3]
    assert len(sample_images.hardest(images, labels, 3, 12)) == 6


@pytest.mark.parametrize(("channels", "side", "classes"), [(3, 32, 10), (1, 8, 3), (3, 100, 200)])
def test_pictures_take_other_images_and_numbers_of_classes(channels, side, classes):
    probabilities = torch.rand(5, classes).softmax(dim=1)
    probabilities[0] = torch.nan
    labels = torch.tensor([0, 1, 2, 1, 0])
    names = [f"class {index}" for index in range(classes)]
    shown = Shown(torch.rand(5, channels, side, side), labels, probabilities)
    assert max(sample_images.picture(shown, names).pixels.shape) < 900
    counts = torch.randint(0, 5000, (classes, classes)).numpy()
    assert max(confusion.picture(counts, names).pixels.shape) < 900
    images = torch.randn(24, channels, side, side)
    assert max(first_layer.picture(images, 24).pixels.shape) < 2000


def test_twelve_digits_are_hardly_wider_than_tensorboards_card():
    images, labels = torch.rand(12, 1, 28, 28), torch.arange(12) % 10
    shown = Shown(images, labels, torch.rand(12, 10).softmax(dim=1))
    assert sample_images.picture(shown, [str(digit) for digit in range(10)]).pixels.shape[1] <= 400


def test_an_images_own_range_is_shown():
    numbers = sample_images.shades(torch.tensor([[[[-0.5, 2.0]]], [[[3.0, 3.0]]]]))
    assert numbers[0, 0, 0] == sample_images.BLACK
    assert numbers[0, 0, -1] == 0
    assert (numbers[1] == sample_images.BLACK).all()


def test_zero_is_neutral_and_the_largest_weight_the_scales_end():
    canvas = first_layer.picture(torch.tensor([[[[0.0, 0.5, -0.25]]]]), 1)
    colours = {number // 8 for number in np.unique(canvas.pixels[5:6, 5:60])}
    assert {first_layer.ZERO, first_layer.ZERO + 8, first_layer.ZERO - 4} <= colours


def test_layers_on_pixels_are_images_and_others_are_not():
    linear, shape = nn.Linear(12, 2), (3, 2, 2)
    assert torch.equal(first_layer.as_images(linear, shape).flatten(1), linear.weight)
    assert first_layer.as_images(nn.Conv2d(3, 4, 5), shape).shape == (4, 3, 5, 5)
    assert first_layer.as_images(nn.Linear(7, 2), shape) is None
    assert first_layer.as_images(nn.LayerNorm(7), shape) is None
    assert first_layer.as_images(linear, (12,)) is first_layer.as_images(linear, (3, 4)) is None


class Odd(nn.Module):
    """Begins with neither an affine layer on pixels nor a convolution."""

    def __init__(self, shape: Any, num_classes: int) -> None:
        super().__init__()
        self.scale = nn.LayerNorm(shape[-1])
        self.output = nn.Linear(shape[-1], num_classes)

    def forward(self, images):
        return self.output(self.scale(images).mean(dim=(1, 2)))


def test_a_network_that_begins_otherwise_is_named_once(run, caplog):
    folder = run("run", SLOW, "model=linear", "model._target_=tests.callbacks.test_pictures.Odd")
    assert caplog.text.count("weights/first_layer shows nothing") == 1
    assert steps(folder).keys() == TAGS - {"weights/first_layer"}


class Series(MNIST):
    """SampleImages to validate on are series, 28 values at each of 28 times."""

    def on_after_batch_transfer(self, batch, dataloader_idx):
        images, labels = super().on_after_batch_transfer(batch, dataloader_idx)
        return (images if labels.ndim == 2 else images.squeeze(1)), labels


class Numbered(MNIST):
    classes = range(10)


class OfSeries(nn.Sequential):
    def __init__(self, shape: Any, num_classes: int) -> None:
        super().__init__(nn.Flatten(), nn.Linear(28 * 28, num_classes))


def test_a_run_on_what_are_no_images_shows_what_it_can(run, caplog):
    data, model = (f"tests.callbacks.test_pictures.{name}" for name in ("Series", "OfSeries"))
    choices = [f"data._target_={data}", "model=linear", f"model._target_={model}"]
    folder = run("run", SLOW, EVERYTHING, *choices)
    assert caplog.text.count("digits/fixed and digits/worst show nothing") == 1
    assert caplog.text.count("weights/first_layer shows nothing") == 1
    assert steps(folder) == {"errors/confusion": [10, 20]}
    embedding = folder / "00020" / "projector"
    assert set((embedding / "metadata.tsv").read_text().split()) == set(map(str, range(10)))
    assert not (embedding / "sprite.png").exists()


def test_classes_may_be_numbers(run):
    data = "data._target_=tests.callbacks.test_pictures.Numbered"
    assert steps(run("run", SLOW, EVERYTHING, data)).keys() == TAGS


def test_the_projector_takes_what_the_last_layer_is_given():
    network = nn.Sequential(nn.Flatten(), nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 2)).train()
    images = torch.rand(5, 1, 2, 2)
    inputs = projector.last_inputs(network, images)
    torch.testing.assert_close(inputs, network[:3](images))
    assert network.training
    assert not network[3]._forward_pre_hooks


def test_principal_components_keep_the_distances():
    inputs = torch.randn(6, 300, dtype=torch.float64)
    kept = projector.components(inputs)
    assert kept.shape == (6, 6)
    torch.testing.assert_close(torch.cdist(kept, kept), torch.cdist(inputs, inputs))


def test_sprites_are_squares_from_0_to_1():
    images = projector.sprites(torch.tensor([[[[-1.0, 3.0]]], [[[5.0, 5.0]]]]))
    assert images.tolist() == [[[[0, 1], [0, 0]]], [[[0, 0], [0, 0]]]]


@pytest.mark.parametrize(
    "callback", [sample_images.SampleImages, first_layer.FirstLayer, projector.Projector]
)
def test_a_count_below_one_is_refused(callback):
    with pytest.raises(ValueError, match="expected a count of at least 1"):
        callback(count=0)


def test_gradient_norms_of_layers_make_up_that_of_all(run):
    folder = run("run", "trainer.max_epochs=1", "data.steps_per_execution=10")  # a single block
    found = {tag: float(values[-1][1]) for tag, values in curves(folder).items()}
    layers = [found[f"train_gradient_norm/layers.{layer}"] for layer in (1, 3, 5)]
    assert np.linalg.norm(layers) == pytest.approx(found["train/gradient_norm"], rel=1e-6)
