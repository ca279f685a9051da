"""A tiny data set in genuine IDX format, written independently of the code that reads it."""

import struct
from pathlib import Path

import numpy as np

SIZE = 28


def write_idx(
    root: str | Path,
    train: int = 200,
    test: int = 50,
    seed: int = 0,
    name: str = "MNIST",
    num_classes: int = 10,
) -> Path:
    """Writes the four files into `<root>/<name>/raw` and returns that folder.

    A class is a fixed random pattern of bright strokes, an image is its pattern with noise: a
    linear network learns them within an epoch or two.
    """
    folder = Path(root) / name / "raw"
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.RandomState(seed)
    patterns = random.rand(num_classes, SIZE, SIZE) < 0.2
    for split, count in (("train", train), ("t10k", test)):
        labels = random.permutation(np.arange(count) % num_classes)
        noise = random.randint(0, 64, size=(count, SIZE, SIZE))
        images = patterns[labels] * random.randint(128, 192, size=(count, 1, 1)) + noise
        write_images(folder / f"{split}-images-idx3-ubyte", images)
        write_labels(folder / f"{split}-labels-idx1-ubyte", labels)
    return folder


def write_images(path: Path, images: np.ndarray) -> None:
    path.write_bytes(struct.pack(">4I", 2051, *images.shape) + images.astype(np.uint8).tobytes())


def write_labels(path: Path, labels: np.ndarray) -> None:
    path.write_bytes(struct.pack(">2I", 2049, len(labels)) + labels.astype(np.uint8).tobytes())
