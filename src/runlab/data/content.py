"""What a data set holds, a digest of it, and one copy for all runs of a process."""

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from runlab.blocks.lazy_batch import memory_of
from runlab.blocks.loader import Samples


class Content(NamedTuple):
    """Inputs and targets in CPU memory, each pair with one entry a sample.

    Attributes:
        train: also the samples that are split off it for validation.
        test: None if the test samples are to be split off `train`, too.
        checksum: tells it from any other content, on any machine; None: a digest of the tensors.
    """

    train: Samples | tuple[Tensor, Tensor]
    test: Samples | tuple[Tensor, Tensor] | None = None
    checksum: str | None = None

    @property
    def pairs(self) -> list[Samples]:
        return [Samples(*pair) for pair in (self.train, self.test) if pair is not None]


_copies: dict[torch.device, tuple[Content, Content]] = {}
"""By device, what was copied and its copy."""


def shared(content: Content, device: torch.device) -> Content:
    """The same on a device, where one copy serves all runs of the process; the latest is kept.

    Runs that train together compute on one memory, which a copy for each would not be. That content
    is the same is seen by its numbers: a checksum may be of what it was made of.
    """
    if device not in _copies or not is_same(_copies[device][0], content):
        train, *test = [pair.to(device) for pair in content.pairs]
        _copies[device] = content, Content(train, test[0] if test else None)
    return _copies[device][1]._replace(checksum=content.checksum)


def is_same(first: Content, second: Content) -> bool:
    ones, others = (
        [each for pair in content.pairs for each in pair] for content in (first, second)
    )
    return len(ones) == len(others) and all(map(is_same_tensor, ones, others))


def is_same_tensor(one: Tensor, other: Tensor) -> bool:
    """By their bytes: torch would compare on threads, which a forked process has lost."""
    if memory_of(one) == memory_of(other):  # nothing needs to be looked at
        return True
    kinds = [(each.dtype, each.shape) for each in (one, other)]
    return kinds[0] == kinds[1] and np.array_equal(bytes_of(one), bytes_of(other))


def bytes_of(tensor: Tensor) -> NDArray[np.uint8]:
    return tensor.contiguous().flatten().view(torch.uint8).numpy()


def digest(*pairs: Samples) -> str:
    """Of types, shapes and numbers."""
    sha = hashlib.sha256()
    for tensor in (each for pair in pairs for each in pair):
        sha.update(f"{tensor.dtype} {list(tensor.shape)}".encode())
        sha.update(bytes_of(tensor).data)
    return sha.hexdigest()[:16]


def stamps(paths: Iterable[Path]) -> tuple[tuple[Path, int, int], ...]:
    """Each file with its size and time of change.

    By `functools.lru_cache` a function of these reads files once a process, as long as they stay
    what they were.
    """
    stats = ((path, path.stat()) for path in paths)
    return tuple((path, stat.st_size, stat.st_mtime_ns) for path, stat in stats)


def checked(content: Any, source: str) -> Content:
    """The same with its checksum.

    Args:
        source: the method that made it.

    Raises:
        ValueError: unless it is one that holds samples, all of one shape.
    """
    if not isinstance(content, Content):
        raise ValueError(
            f"expected a runlab.data.Content from {source}, got a {type(content).__name__}: write "
            "that method, and end it with return Content((inputs, targets))"
        )
    for name, pair in zip(("train", "test"), content.pairs, strict=False):
        check_samples(name, pair)
    train, *others = [tuple(pair.inputs.shape[1:]) for pair in content.pairs]
    if [train] * len(others) != others:
        raise ValueError(f"expected test inputs of shape {train} as in training, got {others[0]}")
    return content._replace(checksum=content.checksum or digest(*content.pairs))


def check_samples(name: str, pair: Samples) -> None:
    for part, each in zip(("inputs", "targets"), pair, strict=True):
        if not isinstance(each, Tensor) or each.ndim == 0:
            got = "a number" if isinstance(each, Tensor) else f"a {type(each).__name__}"
            raise ValueError(
                f"expected {name} {part} in one tensor, an entry a sample, got {got}: stack them, "
                "as by torch.from_numpy"
            )
    if len(pair.inputs) != len(pair.targets) or len(pair.inputs) == 0:
        raise ValueError(
            f"expected {name} samples, as many inputs as targets, got {len(pair.inputs):,} inputs "
            f"and {len(pair.targets):,} targets"
        )
