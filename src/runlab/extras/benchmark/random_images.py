"""Random images in the data set's format, for where its own cannot be had."""

import struct
from pathlib import Path

import numpy as np
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf


def write(cfg: DictConfig, root: Path) -> None:
    """Writes as many images as `cfg.data` splits under `root`, and points `cfg.data` there."""
    OmegaConf.update(cfg, "data.root", str(root))
    OmegaConf.update(cfg, "data.verify", False, force_add=True)
    folder = instantiate(cfg.data).folder
    folder.mkdir(parents=True)
    random = np.random.default_rng(0)
    train_size = cfg.data.train_size + cfg.data.val_size
    for split, size in (("train", train_size), ("t10k", cfg.data.num_classes)):
        images = random.integers(256, size=(size, *cfg.data.shape[1:]), dtype=np.uint8)
        labels = random.integers(cfg.data.num_classes, size=size, dtype=np.uint8)
        for kind, array in (("images-idx3", images), ("labels-idx1", labels)):
            header = struct.pack(f">{1 + array.ndim}I", 0x800 + array.ndim, *array.shape)
            (folder / f"{split}-{kind}-ubyte").write_bytes(header + array.tobytes())
