"""What pictures are drawn of, and how they look."""

import numpy as np
import pytest
import torch
from torch import nn

from runlab.extras.classification.callbacks import confusion, first_layer, projector, sample_images
from runlab.extras.classification.callbacks.sample_images import ImageBatch


def test_mistakes_come_first_then_the_least_likely_truth():
    probabilities = torch.tensor([[0.9, 0.1], [0.4, 0.6], [0.2, 0.8], [0.6, 0.4], [torch.nan] * 2])
    batch = ImageBatch(torch.rand(5, 1, 2, 2), torch.zeros(5, dtype=torch.int64), probabilities)
    assert sample_images.order_by_error(batch).tolist() == [4, 2, 1, 3, 0]


def test_the_hardest_images_look_like_another_class():
    images = torch.tensor([[0.0], [0.1], [0.2], [0.9], [1.0], [0.8]]).view(6, 1, 1, 1)
    labels = torch.tensor([0, 0, 0, 0, 1, 1])
    assert sample_images.hard_examples(images, labels, 3, 1).tolist() == [3]
    assert len(sample_images.hard_examples(images, labels, 3, 12)) == 6


@pytest.mark.parametrize(("channels", "side", "classes"), [(3, 32, 10), (1, 8, 3), (3, 100, 200)])
def test_pictures_take_other_images_and_numbers_of_classes(channels, side, classes):
    probabilities = torch.rand(5, classes).softmax(dim=1)
    probabilities[0] = torch.nan
    labels = torch.tensor([0, 1, 2, 1, 0])
    names = [f"class {index}" for index in range(classes)]
    batch = ImageBatch(torch.rand(5, channels, side, side), labels, probabilities)
    assert max(sample_images.draw_images(batch, names).pixels.shape) < 900
    counts = torch.randint(0, 5000, (classes, classes)).numpy()
    assert max(confusion.draw_confusion_matrix(counts, names).pixels.shape) < 900
    weights = torch.randn(24, channels, side, side)
    assert max(first_layer.draw_weights(weights, 24).pixels.shape) < 2000


def test_twelve_digits_are_hardly_wider_than_tensorboards_card():
    images, labels = torch.rand(12, 1, 28, 28), torch.arange(12) % 10
    batch = ImageBatch(images, labels, torch.rand(12, 10).softmax(dim=1))
    canvas = sample_images.draw_images(batch, [str(digit) for digit in range(10)])
    assert canvas.pixels.shape[1] <= 400


def test_an_images_own_range_is_shown():
    greys = sample_images.to_greys(torch.tensor([[[[-0.5, 2.0]]], [[[3.0, 3.0]]]]))
    assert greys[0, 0, 0] == sample_images.BLACK
    assert greys[0, 0, -1] == 0
    assert (greys[1] == sample_images.BLACK).all()


def test_zero_is_neutral_and_the_largest_weight_the_scales_end():
    canvas = first_layer.draw_weights(torch.tensor([[[[0.0, 0.5, -0.25]]]]), 1)
    colours = {number // 8 for number in np.unique(canvas.pixels[5:6, 5:60])}
    assert {first_layer.ZERO, first_layer.ZERO + 8, first_layer.ZERO - 4} <= colours


def test_layers_on_pixels_are_images_and_others_are_not():
    linear, shape = nn.Linear(12, 2), (3, 2, 2)
    as_images = first_layer.weights_as_images
    assert torch.equal(as_images(linear, shape).flatten(1), linear.weight)
    assert as_images(nn.Conv2d(3, 4, 5), shape).shape == (4, 3, 5, 5)
    assert as_images(nn.Linear(7, 2), shape) is None
    assert as_images(nn.LayerNorm(7), shape) is None
    assert as_images(linear, (12,)) is as_images(linear, (3, 4)) is None


def test_the_projector_takes_what_the_last_layer_is_given():
    network = nn.Sequential(nn.Flatten(), nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 2)).train()
    images = torch.rand(5, 1, 2, 2)
    inputs = projector.last_layer_inputs(network, images)
    torch.testing.assert_close(inputs, network[:3](images))
    assert network.training
    assert not network[3]._forward_pre_hooks


def test_principal_components_keep_the_distances():
    features = torch.randn(6, 300, dtype=torch.float64)
    components = projector.principal_components(features)
    assert components.shape == (6, 6)
    torch.testing.assert_close(torch.cdist(components, components), torch.cdist(features, features))


def test_thumbnails_are_squares_from_0_to_1():
    thumbnails = projector.to_thumbnails(torch.tensor([[[[-1.0, 3.0]]], [[[5.0, 5.0]]]]))
    assert thumbnails.tolist() == [[[[0, 1], [0, 0]]], [[[0, 0], [0, 0]]]]


@pytest.mark.parametrize(
    "callback", [sample_images.SampleImages, first_layer.FirstLayer, projector.Projector]
)
def test_a_count_below_one_is_refused(callback):
    with pytest.raises(ValueError, match="expected a count of at least 1"):
        callback(count=0)
