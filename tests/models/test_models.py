import pytest
import torch
from torch import nn

from losslab.models import CNN, MLP, Linear


def parameters(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def test_default_mlp_has_the_lessons_109386_parameters():
    assert parameters(MLP(shape=[1, 28, 28], num_classes=10)) == 109_386


def test_linear_is_softmax_regression():
    assert parameters(Linear(shape=[1, 28, 28], num_classes=10)) == 7_850


def test_an_mlp_without_hidden_layers_is_linear():
    assert parameters(MLP([1, 28, 28], 10, widths=[])) == 7_850


def test_shapes_follow_the_data():
    images = torch.rand(2, 3, 16, 16)
    for network in (Linear, MLP, CNN):
        assert network(shape=[3, 16, 16], num_classes=7)(images).shape == (2, 7)


def test_a_tables_features_are_inputs_too():
    features = torch.rand(2, 8)
    for network in (Linear, MLP):
        assert network(shape=[8], num_classes=3)(features).shape == (2, 3)
    with pytest.raises(ValueError, match=r"expected images of shape .* got inputs of shape \[8\]"):
        CNN(shape=[8], num_classes=3)


def test_activation_is_the_one_given():
    network = MLP([1, 28, 28], 10, activation=nn.Tanh())
    assert sum(isinstance(module, nn.Tanh) for module in network.layers) == 2


def test_cnn_refuses_images_that_its_stages_would_halve_away():
    with pytest.raises(ValueError, match=r"at least 8×8 pixels for 3 CNN widths.*got 4×4"):
        CNN([1, 4, 4], 10, widths=[8, 8, 8])


def test_cnn_refuses_widths_that_its_groups_do_not_divide():
    with pytest.raises(ValueError, match=r"divisible by groups=8, got \[12\]"):
        CNN([1, 28, 28], 10, widths=[12])


def test_mlp_refuses_an_empty_layer():
    with pytest.raises(ValueError, match=r"at least 1, got \[128, 0\]"):
        MLP([1, 28, 28], 10, widths=[128, 0])
