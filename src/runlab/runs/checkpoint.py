"""Checkpoints: each holds weights and, as plain values, its run's configuration."""

import errno
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile

import lightning as L
import torch
from lightning.fabric.utilities.cloud_io import get_filesystem
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.plugins.io import TorchCheckpointIO
from torch.serialization import get_unsafe_globals_in_checkpoint

from runlab import atomic
from runlab.config import received, targets
from runlab.config.arguments import check_checkpoint
from runlab.config.parts import GROUPS, named_parts
from runlab.measure import Measure, build_metrics
from runlab.memory import is_out_of_memory
from runlab.runs import record

STATE_KEY = "runlab"
"""Under which our part of a checkpoint lies."""

FOLDER = 0x10
"""The bit that says in a zip file that a part is a folder; no checksum covers it."""


FEW = 64
"""Numbers; a tensor of more has more bytes than that, whatever they are."""


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes a checkpoint so that, whenever the machine stops, a whole one is there.

    Lightning's own moves it from the system's temporary folder, and between two file systems that
    is a copy. What it reads is verified, as by `read`.
    """

    def __init__(self) -> None:
        self.has_saved = False
        self.latest: tuple[Path, Any] | None = None

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        """Raises ValueError for what could not be loaded again, before it replaces anything."""
        content = io.BytesIO()  # torch, writing to a full disk itself, hides the reason
        torch.save(checkpoint, content)
        # names of classes are quickly looked through; loading, once, is the proof
        if not self.has_saved or unsafe_globals(content):
            require_loadable(checkpoint, content)
        self.has_saved = True
        if "://" in str(path):
            super().save_checkpoint(checkpoint, path, storage_options)
            return
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        atomic.replace(Path(path), content.getbuffer())
        before, self.latest = self.latest, (Path(path), moment(checkpoint, content))
        if before is not None and before[0] != Path(path) and before[1] == self.latest[1]:
            atomic.link(Path(path), before[0])  # the best one is the last one: one file for both

    def load_checkpoint(
        self, path: str | Path, map_location: Any = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        return read(path)


def read(path: str | Path) -> Any:
    """What a checkpoint holds, on the CPU, once its checksums were verified: torch ignores them.

    Raises:
        OSError: if the file cannot be read now, too little memory included.
        DamagedError: if it is damaged, or nothing that `torch.load(weights_only=True)` takes.
    """
    is_remote = "://" in str(path)
    content = get_filesystem(path).cat_file(path) if is_remote else Path(path).read_bytes()
    try:
        return unpack(io.BytesIO(content))
    except DamagedError as error:
        raise DamagedError(f"expected a checkpoint in {path}, got {error}") from error
    except MemoryError as error:
        raise OSError(errno.ENOMEM, "too little memory to read it", str(path)) from error


def best_callback(
    callbacks: Iterable[L.Callback], measures: Sequence[Measure]
) -> ModelCheckpoint | None:
    """The one whose checkpoint is the best: it monitors a metric, the primary measure of several.

    Raises:
        ValueError: if there are several and that chooses none of them.
    """
    keeping = [
        each
        for each in callbacks
        if isinstance(each, ModelCheckpoint) and each.monitor is not None and each.save_top_k != 0
    ]
    primary = f"val/{measures[0].name}" if measures else None
    chosen = [each for each in keeping if each.monitor == primary] if len(keeping) > 1 else keeping
    if len(keeping) > 1 and len(chosen) != 1:
        monitors = ", ".join(sorted(str(each.monitor) for each in keeping))
        raise ValueError(
            f"expected one callback that keeps the best checkpoint, or one of several to monitor "
            f"{primary or 'a primary measure'}, got {len(keeping)}, which monitor {monitors}: drop "
            "all but one by ~callback.…"
        )
    return chosen[0] if chosen else None


def moment(checkpoint: Mapping[str, Any], content: io.BytesIO) -> Any:
    """Equal for two checkpoints that say the same of a run, whichever callback has saved them.

    They differ in the time, and in what such callbacks know of their files.
    """
    state = {**checkpoint.get(STATE_KEY, {}), "seconds": None}
    callbacks = checkpoint.get("callbacks", {})
    others = {k: v for k, v in callbacks.items() if "best_model_path" not in v}
    said = repr(as_plain({**checkpoint, "callbacks": others, STATE_KEY: state}))
    with ZipFile(content) as archive:
        tensors = [each for each in archive.infolist() if "/data/" in each.filename]
    return said, [(each.file_size, each.CRC) for each in tensors if each.file_size > FEW]


def as_plain(value: Any) -> Any:
    """The same nested value with each tensor's shape in its place; of one of few numbers those."""
    if isinstance(value, torch.Tensor):
        return value.dtype, value.tolist() if value.numel() <= FEW else tuple(value.shape)
    if isinstance(value, Mapping):
        return {key: as_plain(child) for key, child in value.items()}
    if isinstance(value, list | tuple):
        return [as_plain(child) for child in value]
    return value


class DamagedError(ValueError):
    """A file that should be a checkpoint, and holds something else than was saved."""


def unpack(content: io.BytesIO) -> Any:
    """What `torch.save` has put there.

    Raises:
        DamagedError: if that is not provably what is there now, or cannot be loaded as weights.
    """
    damage = None
    try:
        with ZipFile(content) as archive:
            damage = find_damage(archive)
        if damage is None:
            content.seek(0)
            return torch.load(content, map_location="cpu", weights_only=True)
    except BadZipFile as error:
        raise DamagedError(f"a file that is truncated, or no checkpoint ({error})") from error
    except Exception as error:  # zipfile and torch raise whatever their readers meet
        if is_out_of_memory(error):
            raise MemoryError from error  # which says nothing about the file
        raise DamagedError(
            f"a file that torch cannot load as weights ({type(error).__name__})"
        ) from error
    raise DamagedError(f"a damaged file: {damage}")


def find_damage(archive: ZipFile) -> str | None:
    """What is wrong with one of its parts; None if torch reads what was written."""
    if (damaged := archive.testzip()) is not None:
        return f"the checksum of its part {damaged} is another"
    for part in archive.infolist():
        if part.external_attr & FOLDER:  # torch reads nothing of it, and says nothing
            return f"its part {part.filename} is said to be a folder"
    return None


def unsafe_globals(content: io.BytesIO) -> list[str]:
    """The classes and functions in it that `torch.load(weights_only=True)` refuses."""
    content.seek(0)
    return get_unsafe_globals_in_checkpoint(content)


def require_loadable(checkpoint: Mapping[str, Any], content: io.BytesIO) -> None:
    """Raises ValueError, naming the part to blame, unless what was saved can be loaded again."""
    try:
        unpack(content)
    except DamagedError as error:
        callbacks = checkpoint.get("callbacks", {})
        parts = {f"the callback {key}": state for key, state in callbacks.items()}
        parts |= {key: value for key, value in checkpoint.items() if key != "callbacks"}
        wrong = " and ".join(name for name, part in parts.items() if not is_loadable(part))
        got = ", ".join(unsafe_globals(content)) or str(error)
        raise ValueError(
            f"expected what a checkpoint keeps of {wrong or 'a run'} to be tensors and plain "
            f"values, got {got}, which cannot be loaded again: turn it into such in its state_dict"
        ) from error


def is_loadable(part: Any) -> bool:
    content = io.BytesIO()
    torch.save(part, content)
    try:
        unpack(content)
    except DamagedError:
        return False
    return True


def build_parts(config: Mapping[str, Any]) -> dict[str, Any]:
    """What a module of a received configuration takes, but for what trains it."""
    module = config["module"]
    targets.require_targets("module", module, "module")  # before it is imported
    named = named_parts(module)
    parts: dict[str, Any] = {"optimizer": None} if "optimizer" in named else {}
    for part in {"network", "loss"} & named:
        parts[part] = targets.build(GROUPS[part], config)
    if "metrics" in named:
        metrics = build_metrics(config, lambda node: targets.build("metric", {"metric": node}))
        parts["metrics"] = metrics
    return parts


def load(path: Path) -> tuple[L.LightningModule, dict[str, Any]]:
    """The trained module, on the CPU, and the resolved configuration that it was trained with.

    It is built without its optimizer, and of nothing but what `targets` allows.

    Raises:
        ValueError: if the file is missing, damaged, not a checkpoint of ours, or names what it may
            not.
    """
    check_checkpoint(path, record.why_no_checkpoint)
    content = read(path)
    try:
        config, weights = content["hyper_parameters"]["config"], content["state_dict"]
    except (KeyError, TypeError, IndexError):
        raise ValueError(
            f"expected a checkpoint that runlab wrote in {path}, got another program's: "
            f"it holds no configuration"
        ) from None
    if isinstance(config, Mapping) and "module" not in config:
        raise ValueError(
            f"expected a checkpoint of this release in {path}, got one of losslab 0.1, whose "
            "configuration names no module: load it with that release, or train the run again"
        )
    try:
        received.check(config, runs=False)
        module = targets.build("module", config, **build_parts(config))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    try:
        module.load_state_dict(weights)
    except (TypeError, RuntimeError, AttributeError) as error:
        raise ValueError(
            f"the weights in {path} and their configuration do not fit this code: {error!r}"
        ) from error
    return module.eval(), config
