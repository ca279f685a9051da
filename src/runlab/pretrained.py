"""Initial weights from a file, in place of those that a network is built with."""

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Any

from torch import Tensor, nn

from runlab.config.weights import checksum
from runlab.runs.checkpoint import read


def load_pretrained(
    network: nn.Module, file: str, into: str | None = None, leave_out: Iterable[str] = ()
) -> None:
    """Copies the weights of a file into a network, or into a part of it.

    Args:
        file: a `state_dict`, or a checkpoint that holds one: of a run's, its network's weights.
        into: the part's name, as in `network.get_submodule`.
        leave_out: patterns of names that stay as they were built, such as `fc.*` of a new head.

    Raises:
        OSError: if the file cannot be read.
        ValueError: if it holds no weights, or not all others by name and shape.
    """
    leave_out = [leave_out] if isinstance(leave_out, str) else list(leave_out)
    part = part_of(network, into)
    own = left(part.state_dict(), leave_out)
    given = left(weights_of(read(file), file), leave_out)
    missing, unexpected = sorted(own.keys() - given.keys()), sorted(given.keys() - own.keys())
    reshaped = [
        f"{name} of {list(given[name].shape)} in place of {list(own[name].shape)}"
        for name in own.keys() & given.keys()
        if own[name].shape != given[name].shape
    ]
    wrong = {"no": missing, "besides": unexpected, "but": sorted(reshaped)}
    if told := [f"{word} {shown(names)}" for word, names in wrong.items() if names]:
        raise ValueError(
            f"expected in {file} the {len(own)} tensors of the network, got {'; '.join(told)}: "
            "pretrained.leave_out=[…] names those that stay as they are built, and "
            "pretrained.into=… the part of the network that the file is of"
        )
    part.load_state_dict(given, strict=False)


def part_of(network: nn.Module, name: str | None) -> nn.Module:
    try:
        return network.get_submodule(name or "")
    except AttributeError as error:
        parts = ", ".join(each for each, _ in network.named_children())
        raise ValueError(
            f"expected pretrained.into to name a part of the network ({parts}), got {name}"
        ) from error


def weights_of(content: Any, file: str) -> dict[str, Tensor]:
    """The tensors of a file by name: those of the network, where it is a run's checkpoint."""
    if isinstance(content, Mapping) and isinstance(content.get("state_dict"), Mapping):
        weights = content["state_dict"]
        of_network = {k: v for k, v in weights.items() if k.startswith("network.")}
        if "hyper_parameters" in content and of_network:
            weights = {key.removeprefix("network."): v for key, v in of_network.items()}
        content = weights
    if not isinstance(content, Mapping) or not all(isinstance(v, Tensor) for v in content.values()):
        raise ValueError(f"expected the weights of a network in {file}, got something else")
    return dict(content)


def left(weights: Mapping[str, Tensor], leave_out: Iterable[str]) -> dict[str, Tensor]:
    return {k: v for k, v in weights.items() if not any(fnmatchcase(k, e) for e in leave_out)}


def shown(names: list[str], most: int = 4) -> str:
    return ", ".join(names[:most]) + (f", … ({len(names)})" if len(names) > most else "")


def with_checksum(config: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration, with the SHA-256 of its file of weights: by it the run is known.

    Raises:
        ValueError: if the file is not there, or another one than the configuration says.
    """
    node = config.get("pretrained")
    if node is None or node["file"] is None:
        return {**config, "pretrained": None}
    file = node["file"]
    now = checksum(file)
    if now is None:
        raise ValueError(f"expected a file of weights in pretrained.file, got no file {file}")
    if node.get("sha256") not in (None, now):
        raise ValueError(
            f"expected weights of SHA-256 {node['sha256']} in {file}, got {now}: give the file "
            "that the run was trained with"
        )
    return {**config, "pretrained": {**node, "sha256": now}}
