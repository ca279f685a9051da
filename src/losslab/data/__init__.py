from losslab.data.cifar10 import CIFAR10
from losslab.data.digits import Digits
from losslab.data.fashion_mnist import FashionMNIST
from losslab.data.image_folder import ImageFolder
from losslab.data.mnist import MNIST
from losslab.data.table import Table

__all__ = ["CIFAR10", "MNIST", "Digits", "FashionMNIST", "ImageFolder", "Table"]
