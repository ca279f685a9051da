"""Checkpoints: each holds weights and, as plain values, its run's configuration."""

import io
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO

from runlab import atomic
from runlab.config import received, targets


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes a checkpoint so that, whenever the machine stops, a whole one is there.

    Lightning's own moves it from the system's temporary folder, and between two file systems that
    is a copy.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        if "://" in str(path):
            super().save_checkpoint(checkpoint, path, storage_options)
            return
        content = io.BytesIO()  # torch, writing to a full disk itself, hides the reason
        torch.save(checkpoint, content)
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        atomic.replace(Path(path), content.getbuffer())


def load(path: Path) -> tuple[L.LightningModule, dict[str, Any]]:
    """The trained module, on the CPU, and the resolved configuration that it was trained with.

    It is built without its optimizer, and of nothing but what `targets` allows.

    Raises:
        ValueError: if the file is missing, damaged, not a checkpoint of ours, or names what it may
            not.
    """
    if path.is_dir():
        raise ValueError(
            f"expected a checkpoint, got a folder, {path}: name a file in it, such as "
            f"checkpoints/best.ckpt of a run"
        )
    if not path.is_file():
        raise ValueError(f"expected a checkpoint at {path}, got no such file")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises whatever its unpickler and zip reader raise
        raise ValueError(
            f"expected a checkpoint in {path}, got a file that torch cannot load as weights: "
            f"truncated, or no checkpoint ({type(error).__name__})"
        ) from error
    try:
        config, weights = content["hyper_parameters"]["config"], content["state_dict"]
    except (KeyError, TypeError, IndexError):
        raise ValueError(
            f"expected a checkpoint that runlab wrote in {path}, got another program's: "
            f"it holds no configuration"
        ) from None
    if "module" not in config:
        raise ValueError(
            f"expected a checkpoint of this release in {path}, got one of losslab 0.1, whose "
            "configuration names no module: load it with that release, or train the run again"
        )
    try:
        received.check(config, runs=False)
        network, loss = (targets.build(place, config) for place in ("model", "loss"))
        module = targets.build("module", config, network=network, loss=loss, optimizer=None)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    try:
        module.load_state_dict(weights)
    except (TypeError, RuntimeError, AttributeError) as error:
        raise ValueError(
            f"the weights in {path} and their configuration do not fit this code: {error!r}"
        ) from error
    return module.eval(), config
