"""Networks: images [batch, channels, height, width] in, one output per class [batch, classes]."""

from losslab.models.cnn import CNN as CNN
from losslab.models.linear import Linear as Linear
from losslab.models.mlp import MLP as MLP
