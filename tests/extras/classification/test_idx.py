"""The files: read as they were written, and never when they are damaged."""

import gzip
from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision import datasets

from runlab.data.content import shared
from runlab.extras.classification.idx import FILES, load
from tests.idx import write_idx, write_images, write_labels

SHAPE = (1, 28, 28)


def test_files_are_read_as_torchvision_reads_them(tmp_path: Path) -> None:
    content = load(write_idx(tmp_path), SHAPE, 10)
    for ours, train in ((content.train, True), (content.test, False)):
        theirs = datasets.MNIST(tmp_path, train=train)
        assert torch.equal(ours.inputs.squeeze(1), theirs.data)
        assert torch.equal(ours.targets, theirs.targets)


def test_images_and_labels_survive_the_round_trip(tmp_path: Path) -> None:
    folder = write_idx(tmp_path)
    images = np.arange(3 * 28 * 28).reshape(3, 28, 28) % 256
    write_images(folder / FILES[0], images)
    write_labels(folder / FILES[1], np.array([7, 0, 9]))
    train = load(folder, SHAPE, 10).train
    assert train.inputs.dtype == torch.uint8
    assert train.inputs.shape == (3, 1, 28, 28)
    assert np.array_equal(train.inputs.squeeze(1).numpy(), images)
    assert train.targets.tolist() == [7, 0, 9]


def test_a_file_is_read_once_until_it_changes(tmp_path: Path) -> None:
    folder = write_idx(tmp_path)
    first, again = load(folder, SHAPE, 10), load(folder, SHAPE, 10)
    assert first.train.inputs.data_ptr() == again.train.inputs.data_ptr()
    write_labels(folder / FILES[3], np.zeros(50))
    changed = load(folder, SHAPE, 10)
    assert changed.test.targets.sum() == 0
    assert changed.checksum != first.checksum


def test_a_device_has_one_copy_until_the_files_change(tmp_path: Path) -> None:
    device = torch.device("meta")
    folder = write_idx(tmp_path)
    content = load(folder, SHAPE, 10)
    first, again = shared(content, device), shared(load(folder, SHAPE, 10), device)
    assert first.train.inputs.device == device
    assert first.train.inputs is again.train.inputs
    write_idx(tmp_path, train=100)
    assert len(shared(load(folder, SHAPE, 10), device).train.targets) == 100


def test_checksum_depends_on_content_and_not_on_place(tmp_path: Path) -> None:
    here, there = write_idx(tmp_path / "here"), write_idx(tmp_path / "there")
    other = write_idx(tmp_path / "other", seed=1)
    assert load(here, SHAPE, 10).checksum == load(there, SHAPE, 10).checksum
    assert load(here, SHAPE, 10).checksum != load(other, SHAPE, 10).checksum


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    folder = write_idx(tmp_path)
    (folder / FILES[2]).unlink()
    with pytest.raises(ValueError, match=r"t10k-images.*expected a readable file, got: No such"):
        load(folder, SHAPE, 10)


@pytest.mark.parametrize("kept", [0, 7, 15, 16 + 784, -1])
def test_a_truncated_file_is_named(tmp_path: Path, kept: int) -> None:
    path = write_idx(tmp_path) / FILES[0]
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(ValueError, match=r"train-images-idx3-ubyte: expected .*, got"):
        load(path.parent, SHAPE, 10)


def test_a_file_of_another_kind_is_named(tmp_path: Path) -> None:
    path = write_idx(tmp_path) / FILES[1]
    path.write_bytes(gzip.compress(path.read_bytes()))
    with pytest.raises(
        ValueError, match=r"train-labels.*magic number 2049, got 529205.*compressed"
    ):
        load(path.parent, SHAPE, 10)


def test_an_empty_data_set_is_refused(tmp_path: Path) -> None:
    folder = write_idx(tmp_path, train=0)
    with pytest.raises(ValueError, match=r"train-images.*expected at least one entry"):
        load(folder, SHAPE, 10)


def test_as_many_labels_as_images_are_expected(tmp_path: Path) -> None:
    folder = write_idx(tmp_path)
    write_labels(folder / FILES[1], np.zeros(199))
    with pytest.raises(ValueError, match=r"train-labels.*expected 200 labels.*got 199"):
        load(folder, SHAPE, 10)


def test_images_of_another_shape_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"shape \(1, 32, 32\) .*got \(1, 28, 28\)"):
        load(write_idx(tmp_path), (1, 32, 32), 10)


def test_a_label_out_of_range_is_named_with_its_place(tmp_path: Path) -> None:
    folder = write_idx(tmp_path)
    labels = np.zeros(50)
    labels[13] = 10
    write_labels(folder / FILES[3], labels)
    with pytest.raises(
        ValueError, match=r"t10k-labels.*expected labels 0 to 9.*got 10 at index 13"
    ):
        load(folder, SHAPE, 10)
