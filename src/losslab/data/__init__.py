from losslab.data.fashion_mnist import FashionMNIST
from losslab.data.mnist import MNIST

__all__ = ["MNIST", "FashionMNIST"]
