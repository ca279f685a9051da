"""Testing a checkpoint again, alone: as its run did, and with the same numbers."""

from collections.abc import Mapping
from typing import Any

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from runlab.components import located, received_data
from runlab.config import arguments
from runlab.config.schema import check_parameters
from runlab.devices import check_devices
from runlab.loggers.names import LoggedNames
from runlab.runs import checkpoint
from runlab.text import exact
from runlab.train import score

SPLITS = ("val", "test")

AS_TRAINED = ("precision", "limit_val_batches", "limit_test_batches", "overfit_batches")
"""Flags of the Trainer on which the metrics of the same weights depend."""


def evaluate(cfg: DictConfig) -> dict[str, float]:
    """Metrics of the checkpoint on validation and test data, keyed `split/quantity`.

    On the same machine they are, bit for bit, what the run's record says of its best checkpoint.

    Raises:
        ValueError: if there is no checkpoint of ours, or it names what it may not.
        MisconfigurationException: from Lightning, if the machine lacks the device asked for.
    """
    module, config = checkpoint.load(arguments.checkpoint(cfg))
    torch.set_num_threads(config["threads"])  # the order of float sums depends on it
    data = received_data(located(config, cfg.data_dir))
    check_parameters(OmegaConf.to_container(cfg.trainer, resolve=True), "trainer")
    check_devices(cfg.trainer)
    as_trained = {k: v for k, v in config["trainer"].items() if k in AS_TRAINED}
    flags: Any = OmegaConf.to_container(cfg.trainer, resolve=True)
    trainer = instantiate(as_trained | flags)(
        callbacks=[LoggedNames()],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
    )
    return score(module, trainer, data)


def table(metrics: Mapping[str, float]) -> str:
    """One row a quantity, one column a split."""
    quantities = list(dict.fromkeys(name.partition("/")[2] for name in metrics))
    splits = [split for split in SPLITS if any(name.startswith(f"{split}/") for name in metrics)]
    rows = [
        [quantity, *(exact(metrics[f"{split}/{quantity}"]) for split in splits)]
        for quantity in quantities
    ]
    columns = list(zip(["", *splits], *rows, strict=True))
    widths = [max(map(len, column)) for column in columns]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in [["", *splits], *rows]
    ]
    return "\n".join(lines)
