"""The data sets that are shipped, read from tiny files in their genuine format; no network."""

import hashlib
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import datasets

from losslab.data import CIFAR10, Digits, ImageFolder, Table
from losslab.data._images import crop_and_flip, flip
from losslab.data.cifar10 import read_files

# CIFAR-10


@pytest.fixture
def cifar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Five batches of 8 images and a test batch, whose MD5s torchvision is told to expect."""
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    random = np.random.RandomState(0)

    def write(name: str, content: Any) -> str:
        (folder / name).write_bytes(pickle.dumps(content))
        return hashlib.md5((folder / name).read_bytes()).hexdigest()

    def batch() -> dict[str, Any]:
        pixels = random.randint(0, 256, (8, 3072)).astype(np.uint8)
        return {"data": pixels, "labels": list(range(8))}

    train = [[f"data_batch_{i}", write(f"data_batch_{i}", batch())] for i in range(1, 6)]
    test = [["test_batch", write("test_batch", batch())]]
    meta = {"label_names": [str(i) for i in range(10)]}
    monkeypatch.setattr(datasets.CIFAR10, "train_list", train)
    monkeypatch.setattr(datasets.CIFAR10, "test_list", test)
    known = {**datasets.CIFAR10.meta, "md5": write("batches.meta", meta)}
    monkeypatch.setattr(datasets.CIFAR10, "meta", known)
    read_files.cache_clear()
    return tmp_path


def cifar10(root: Path, **options: Any) -> CIFAR10:
    return CIFAR10(root, train_size=30, val_size=10, batch_size=10, download=False, **options)


def test_cifar10_gives_the_images_of_torchvisions_files(cifar):
    data = cifar10(cifar)
    data.prepare_data()
    data.setup()
    images, labels = data.content.train
    assert images.shape == (40, 3, 32, 32)
    assert images.dtype == torch.uint8
    raw = pickle.loads((cifar / "cifar-10-batches-py" / "data_batch_2").read_bytes())
    assert torch.equal(images[8:16].flatten(1), torch.from_numpy(raw["data"]))
    assert labels[8:16].tolist() == list(range(8))
    assert len(data.content.test[1]) == 8
    assert data.classes[3] == "cat"


def test_cifar10_is_normalized_by_channel(cifar):
    data = cifar10(cifar)
    ones = torch.full((2, 5, 3, 4, 4), 255, dtype=torch.uint8)
    normalized = data.normalize(ones)
    assert normalized.shape == ones.shape
    expected = [(1 - mean) / std for mean, std in zip(data.mean, data.std, strict=True)]
    assert normalized[1, 2, :, 3, 3].tolist() == pytest.approx(expected)


def test_cifar10_with_another_file_is_refused(cifar):
    (cifar / "cifar-10-batches-py" / "data_batch_3").write_bytes(b"other")
    with pytest.raises(ValueError, match=r"expected CIFAR-10's files in .*data.download=true"):
        cifar10(cifar).prepare_data()


def test_cifar10_augments_where_asked(cifar):
    assert not hasattr(cifar10(cifar), "augment")
    assert cifar10(cifar, augment=True).augment is crop_and_flip


# Augmentation


def test_each_image_is_moved_and_flipped_by_itself():
    images = torch.arange(1, 65, dtype=torch.uint8).view(1, 1, 8, 8).repeat(200, 1, 1, 1)
    augmented = crop_and_flip(images, torch.Generator().manual_seed(0), padding=1)
    assert augmented.shape == images.shape
    assert augmented.dtype == torch.uint8
    padded = torch.nn.functional.pad(images[0], [1] * 4)
    possible = {
        window.numpy().tobytes()
        for y in range(3)
        for x in range(3)
        for window in (padded[:, y : y + 8, x : x + 8], padded[:, y : y + 8, x : x + 8].flip(-1))
    }
    assert {image.numpy().tobytes() for image in augmented} == possible


def test_augmentation_is_a_function_of_the_generators_state():
    images = torch.randint(0, 256, (6, 3, 8, 8), dtype=torch.uint8)
    for augment in (flip, crop_and_flip):
        first, again, other = (
            augment(images, torch.Generator().manual_seed(seed)) for seed in (0, 0, 1)
        )
        assert torch.equal(first, again)
        assert not torch.equal(first, other)


# A folder of images


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """20 dark and 20 bright images of several sizes, in two forms."""
    random = np.random.RandomState(0)
    for name, shade in (("bright", 200), ("dark", 20)):
        (tmp_path / "images" / name).mkdir(parents=True)
        for i in range(20):
            pixels = random.randint(0, 50, (6 + i, 8, 3)) + shade
            form = "png" if i % 2 else "jpg"
            Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / f"images/{name}/{i:02}.{form}")
    return tmp_path


def images_of(root: Path, **options: Any) -> ImageFolder:
    defaults = {"shape": (3, 8, 8), "num_classes": 2, "mean": 0.5, "std": 0.5, "batch_size": 8}
    data = ImageFolder(root, **({"test_size": 0.25, "val_size": 0.2} | defaults | options))
    data.prepare_data()
    data.setup()
    return data


def test_a_folder_of_images_is_decoded_resized_and_split(folder):
    data = images_of(folder)
    images, labels = data.content.train
    assert images.shape == (40, 3, 8, 8)
    assert images.dtype == torch.uint8
    assert labels.tolist() == [0] * 20 + [1] * 20
    assert data.classes == ["bright", "dark"]
    assert (images[:20].float().mean(), images[20:].float().mean()) == pytest.approx(
        (224.5, 44.5), abs=5
    )
    assert [len(part) for part in data.split] == [24, 6, 10]
    grey = images_of(folder, shape=(1, 4, 4)).content.train[0]
    assert grey.shape == (40, 1, 4, 4)


def test_a_test_folder_holds_the_test_images(folder, tmp_path_factory):
    root = tmp_path_factory.mktemp("parted")
    (root / "images").mkdir()
    for part in ("train", "test"):
        (root / "images" / part).symlink_to(folder / "images")
    data = images_of(root, test_size=None, val_size=8)
    assert [len(part) for part in data.split] == [32, 8, 40]


def test_images_are_decoded_once_a_process_as_long_as_they_stay_the_same(folder):
    first, again = images_of(folder), images_of(folder)
    assert first.content.train[0].data_ptr() == again.content.train[0].data_ptr()
    Image.new("RGB", (8, 8), "red").save(folder / "images" / "dark" / "01.png")
    assert images_of(folder).checksum != first.checksum


def test_a_broken_image_is_named(folder):
    broken = folder / "images" / "dark" / "05.png"
    broken.write_bytes(broken.read_bytes()[:60])
    with pytest.raises(ValueError, match=r"expected an image in .*dark/05\.png.*decoded"):
        images_of(folder)


@pytest.mark.parametrize(
    ("image", "told"),
    [
        (Image.fromarray(np.full((8, 8), 40_000, np.uint16)), "more than 8 bits a channel"),
        (Image.new("RGBA", (8, 8), (0, 0, 0, 0)), "transparent pixels"),
    ],
)
def test_an_image_that_would_lose_what_it_shows_is_refused(folder, image, told):
    image.save(folder / "images" / "dark" / "05.png")
    with pytest.raises(ValueError, match=rf"expected an image in .*dark/05\.png.*{told}"):
        images_of(folder)


def test_images_of_all_forms_are_what_one_sees(folder):
    halves = Image.new("RGB", (8, 8))
    halves.paste((255, 0, 0), (4, 0, 8, 8))  # the right one is red
    dark = folder / "images" / "dark"
    halves.quantize(2).save(dark / "01.png")
    halves.convert("RGBA").save(dark / "03.PNG")
    turned = Image.Exif()
    turned[274] = 6  # to be shown turned by 90 degrees, clockwise
    halves.save(dark / "05.png", exif=turned)
    images, labels = images_of(folder).content.train
    assert len(images) == 41
    [palette, opaque, below] = [
        image
        for image, label in zip(images, labels, strict=True)
        if label == 1 and image[0].max() == 255
    ]
    right, bottom = torch.zeros(8, 8), torch.zeros(8, 8)
    right[:, 4:] = bottom[4:] = 255
    for image, expected in ((palette, right), (opaque, right), (below, bottom)):
        assert torch.equal(image[0].float(), expected)
        assert not image[1:].any()


@pytest.mark.parametrize(
    ("names", "got"),
    [(("train", "val"), "train, val"), (("train", "test", "val"), "test, train, val")],
)
def test_a_folder_of_parts_is_not_taken_for_one_of_classes(folder, names, got):
    for name in names:
        (folder / "parts" / name).mkdir(parents=True)
        (folder / "parts" / name / "bright").symlink_to(folder / "images" / "bright")
    with pytest.raises(ValueError, match=f"or train and test, got {got}: take validation"):
        images_of(folder, folder="parts")


def test_a_wrong_number_of_folders_is_told_with_the_right_one(folder):
    with pytest.raises(ValueError, match=r"expected 3 folders .*set data\.num_classes=2"):
        images_of(folder, num_classes=3)
    with pytest.raises(ValueError, match=r"expected images in .*nowhere/<class>/"):
        images_of(folder, folder="nowhere")


# scikit-learn's digits


def test_digits_are_those_of_scikit_learn():
    data = Digits(test_size=360, val_size=180)
    data.setup()
    images, labels = data.content.train
    assert images.shape == (1797, 1, 8, 8)
    assert (int(images.min()), int(images.max())) == (0, 255)
    assert labels[:5].tolist() == [0, 1, 2, 3, 4]
    assert [len(part) for part in data.split] == [1257, 180, 360]
    normalized = data.normalize(images)
    assert float(normalized.mean()) == pytest.approx(0, abs=1e-3)
    assert float(normalized.std()) == pytest.approx(1, abs=1e-3)


def test_a_wrong_shape_or_number_of_classes_is_told_with_the_right_one():
    with pytest.raises(ValueError, match=r"got \(1, 8, 8\): set data.shape=\[1, 8, 8\]"):
        Digits(shape=(1, 28, 28), test_size=360).setup()
    with pytest.raises(ValueError, match=r"got 0 to 9: set data.num_classes=10"):
        Digits(num_classes=5, test_size=360).setup()


# A table


def table(tmp_path: Path, text: str, **options: Any) -> Table:
    (tmp_path / "table.csv").write_text(text, encoding="utf-8")
    defaults = {"target": "y", "shape": [2], "num_classes": 2, "test_size": 0.2, "batch_size": 4}
    data = Table(tmp_path, "table.csv", **(defaults | options))
    data.setup()
    return data


CLASSES = "a,b,y\n" + "".join(f"{i},{i % 3},{'red' if i % 2 else 'blue'}\n" for i in range(40))
PRICES = "a,b,y\n" + "".join(f"{i},7,{1000 + i}\n" for i in range(40))
NUMBERS = "a,b,y\n" + "".join(f"{i},7,{i / 8}\n" for i in range(40))


def test_a_column_of_texts_is_a_classification(tmp_path):
    data = table(tmp_path, CLASSES)
    inputs, targets = data.content.train
    assert inputs.shape == (40, 2)
    assert targets.dtype == torch.int64
    assert targets[:4].tolist() == [0, 1, 0, 1]
    assert data.classes == ["blue", "red"]


def test_features_are_standardized_by_the_training_samples_alone(tmp_path):
    data = table(tmp_path, NUMBERS, num_classes=1)
    inputs, targets = data.content.train
    train = inputs[data.split.train]
    torch.testing.assert_close(train.mean(dim=0), torch.zeros(2), atol=1e-6, rtol=0)
    assert float(train[:, 0].std(correction=0)) == pytest.approx(1)
    assert float(inputs[:, 0].std(correction=0)) != pytest.approx(1, abs=1e-4)
    assert inputs[:, 1].tolist() == [0] * 40  # constant
    assert targets.tolist() == [[i / 8] for i in range(40)]
    raw = table(tmp_path, NUMBERS, num_classes=1, standardize=False).content.train[0]
    assert raw[:, 0].tolist() == list(range(40))


def test_whole_numbers_are_classes_unless_the_task_says_otherwise(tmp_path):
    data = table(tmp_path, CLASSES, target="b", features=["a"], shape=[1], num_classes=3)
    assert data.content.train[1].dtype == torch.int64
    data = table(
        tmp_path, CLASSES, target="b", features=["a"], shape=[1], num_classes=1, task="regression"
    )
    assert data.content.train[1].shape == (40, 1)
    data = table(tmp_path, NUMBERS, target=["b", "y"], shape=[1], standardize_target=True)
    assert data.content.train[1].shape == (40, 2)
    assert float(data.content.train[1][data.split.train, 1].mean()) == pytest.approx(0, abs=1e-6)


def test_large_numbers_keep_their_differences(tmp_path):
    """32 bits hold the seconds since 1970 to two minutes."""
    text = "a,y\n" + "".join(f"{1_700_000_000 + i},{i / 8}\n" for i in range(40))
    data = table(tmp_path, text, shape=[1], num_classes=1)
    inputs, targets = data.content.train
    assert inputs.dtype == targets.dtype == torch.float32
    steps = inputs.diff(dim=0)
    torch.testing.assert_close(steps, steps[:1].expand(39, 1))


def test_columns_of_yes_and_no_are_numbers_and_classes(tmp_path):
    rows = "".join(f"{i % 3 == 0},{i},{i % 2 == 0}\n" for i in range(40))
    data = table(tmp_path, f"a,b,y\n{rows}", standardize=False)
    inputs, targets = data.content.train
    assert inputs[:4, 0].tolist() == [1, 0, 0, 1]
    assert targets[:3].tolist() == [1, 0, 1]
    assert data.classes == ["False", "True"]


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        (CLASSES, {"target": "z"}, r"expected a column z in .*table.csv, got a, b, y"),
        (CLASSES, {"target": "b", "num_classes": 3}, r"column y .* texts such as 'blue'"),
        (CLASSES + ",1,red\n", {}, r"got none for a in line 42.*data.features"),
        (CLASSES, {"shape": [3]}, r"expected data.shape=\[2\], .*got \[3\]"),
        (CLASSES, {"num_classes": 3}, r"expected data.num_classes=2, .*got 3"),
        (NUMBERS, {"num_classes": 2}, r"expected data.num_classes=1, .*got 2.*task=classification"),
        (PRICES, {"num_classes": 1}, r"num_classes=40, .*got 1: set it, or data.task=regression"),
        (CLASSES, {"task": "both"}, r"data.task: expected auto, .*got 'both'"),
        ("", {}, r"expected a CSV file in"),
        (NUMBERS, {"features": ["a", "y"]}, r"data.features without data.target, got y in both"),
        (NUMBERS.replace("a,", ",", 1), {}, r"none for column 1, which may number the rows"),
        (NUMBERS.replace("a,", "", 1), {}, r"CSV file in .*Expected 2 fields in line 2, saw 3"),
        (NUMBERS + "inf,7,1\n", {}, r"finite numbers in column a .*infinite one"),
    ],
)
def test_a_table_that_cannot_be_trained_on_is_told_why(tmp_path, text, options, message):
    with pytest.raises(ValueError, match=message):
        table(tmp_path, text, **options)
