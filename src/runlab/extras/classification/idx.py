"""IDX, the format of MNIST's files: big-endian magic number and dimensions, then the bytes."""

import hashlib
import math
import os
import struct
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

import torch
from jaxtyping import UInt8
from torch import Tensor

from runlab.blocks.loader import Samples
from runlab.data import Content

FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)


def load(folder: Path, shape: Sequence[int] | None, num_classes: int) -> Content:
    """Images [images, 1, height, width] of bytes with their labels, int64, from the four files.

    Tensors are shared within the process: do not write to them.

    Args:
        shape: channels, height and width that images have to have; None: any.

    Raises:
        ValueError: where a file is missing, is not IDX, is cut short, or does not fit `shape` and
            `num_classes`.
    """
    files = [_content(folder / name) for name in FILES]  # once: the digest is of what is used
    train, test = (
        _load_pair(folder, FILES[i : i + 2], files[i : i + 2], shape, num_classes) for i in (0, 2)
    )
    digests = "".join(digest for _, digest in files)
    return Content(train, test, hashlib.sha256(digests.encode()).hexdigest()[:16])


def md5(path: Path) -> str:
    return _content(path)[1]


def faults(folder: Path, md5s: Mapping[str, str]) -> dict[str, str]:
    """What keeps each file of `folder` from being trusted; empty when all four are as expected."""
    found = {name: _fault(folder / name, md5s.get(name)) for name in FILES}
    return {name: fault for name, fault in found.items() if fault is not None}


def _fault(path: Path, expected: str | None) -> str | None:
    if not path.is_file():
        is_there = os.path.lexists(path)
        return f"{path}: expected a file, got none" if is_there else f"{path} is missing"
    got = md5(path)
    if expected is None:
        return f"{path}: expected a file fetched by runlab, got one of unknown origin, MD5 {got}"
    return None if got == expected else f"{path}: expected MD5 {expected}, got {got}"


def _load_pair(
    folder: Path,
    names: Sequence[str],
    files: Sequence[tuple[bytearray, str]],
    shape: Sequence[int] | None,
    num_classes: int,
) -> Samples:
    images, labels = (folder / name for name in names)
    pixels = _parse(images, files[0][0], dimensions=3).unsqueeze(1)  # [images, 1, height, width]
    classes = _parse(labels, files[1][0], dimensions=1)  # [images]
    if shape is not None and tuple(pixels.shape[1:]) != tuple(shape):
        raise ValueError(
            f"{images}: expected images of shape {tuple(shape)} (data.shape), "
            f"got {tuple(pixels.shape[1:])}; set data.shape to the files' own"
        )
    if len(pixels) != len(classes):
        raise ValueError(
            f"{labels}: expected {len(pixels):,} labels, one for each image of {images.name}, "
            f"got {len(classes):,}; the two files do not belong together"
        )
    wrong = (classes >= num_classes).nonzero()
    if len(wrong) > 0:
        index = int(wrong[0])
        raise ValueError(
            f"{labels}: expected labels 0 to {num_classes - 1} (data.num_classes={num_classes}), "
            f"got {int(classes[index])} at index {index}; correct the file or data.num_classes"
        )
    return Samples(pixels, classes.long())


def _parse(path: Path, content: bytearray, dimensions: int) -> UInt8[Tensor, "..."]:
    header = 4 + 4 * dimensions
    magic = 0x800 + dimensions  # 0x8: unsigned bytes
    fields = struct.unpack(f">{1 + dimensions}I", bytes(content[:header].ljust(header, b"\0")))
    if fields[0] != magic:
        raise ValueError(
            f"{path}: expected an IDX file with magic number {magic}, got {fields[0]}; "
            "is it still compressed, or another kind of file?"
        )
    size = header + math.prod(fields[1:])
    if size == header:
        raise ValueError(f"{path}: expected at least one entry, got dimensions {fields[1:]}")
    if len(content) != size:
        raise ValueError(
            f"{path}: expected {size:,} bytes for dimensions {fields[1:]}, got {len(content):,}; "
            "the file is damaged: replace it"
        )
    return torch.frombuffer(content, dtype=torch.uint8, offset=header).view(fields[1:])


def _content(path: Path) -> tuple[bytearray, str]:
    try:
        stat = path.stat()
        return _read(path, stat.st_ino, stat.st_size, stat.st_mtime_ns)
    except OSError as error:
        reason = error.strerror or error
        raise ValueError(
            f"{path}: expected a readable file, got: {reason}; put it there"
        ) from error


@lru_cache(maxsize=2 * len(FILES))
def _read(path: Path, inode: int, size: int, mtime_ns: int) -> tuple[bytearray, str]:
    """Content and MD5, read once per process while the file stays the one it was."""
    content = bytearray(path.read_bytes())
    return content, hashlib.md5(content, usedforsecurity=False).hexdigest()
