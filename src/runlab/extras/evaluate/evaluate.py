"""Testing a checkpoint again, alone: as its run did, and with the same numbers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf

from runlab.components import located, make_trainer, received_data
from runlab.config import arguments
from runlab.config.schema import check_parameters
from runlab.loggers.names import LoggedNames
from runlab.measure import Measure, declared_measures
from runlab.runs import checkpoint
from runlab.runs.devices import check_devices
from runlab.text import aligned, wrapped
from runlab.train import score

SPLITS = ("val", "test")

AS_TRAINED = ("precision", "limit_val_batches", "limit_test_batches", "overfit_batches")
"""Flags of the Trainer on which the metrics of the same weights depend."""


@dataclass(frozen=True)
class Evaluation:
    """What a checkpoint was tested to be.

    Attributes:
        run: of which it is, by its sweep and name, or else the file itself.
        measures: that its module declares.
        metrics: on validation and test data, keyed `split/quantity`.
    """

    run: str
    measures: Sequence[Measure]
    metrics: Mapping[str, float]

    def terminal(self) -> str:
        """The run, then a row a quantity and a column a split."""
        names = dict.fromkeys(name.partition("/")[2] for name in self.metrics)
        splits = [each for each in SPLITS if any(n.startswith(f"{each}/") for n in self.metrics)]
        titles = {"val": "validation", "test": "test"}
        rows = [[self.title(name), *(self.shown(each, name) for each in splits)] for name in names]
        table = aligned(["", *(titles[each] for each in splits)], rows)
        return "\n".join([*wrapped(self.run), "", *table])

    def title(self, name: str) -> str:
        return next((each.title for each in self.measures if each.name == name), name)

    def shown(self, split: str, name: str) -> str:
        """In the measure's unit and digits; of another quantity four digits."""
        value = self.metrics.get(f"{split}/{name}")
        if value is None:
            return "–"
        for each in self.measures:
            if each.name == name:
                return f"{each.scale * value:.{each.digits}f}{each.unit}"
        return f"{value:.0f}" if value.is_integer() else f"{value:.4g}"


def evaluate(cfg: DictConfig) -> Evaluation:
    """Metrics of the checkpoint on validation and test data.

    On the same machine they are, bit for bit, what the run's record says of its best checkpoint.

    Raises:
        ValueError: if there is no checkpoint of ours, or it names what it may not, or the machine
            lacks the device asked for.
    """
    flags: Any = OmegaConf.to_container(cfg.trainer, resolve=True)
    check_parameters(flags, "trainer")
    check_devices(flags)
    path = arguments.checkpoint(cfg)
    module, config = checkpoint.load(path)
    torch.set_num_threads(config["threads"])  # the order of float sums depends on it
    data = received_data(located(config, data_dir_of(cfg)))
    as_trained = {k: v for k, v in config["trainer"].items() if k in AS_TRAINED}
    trainer = make_trainer(
        OmegaConf.create(as_trained | flags),
        callbacks=[LoggedNames()],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
    )
    return Evaluation(run_of(path), declared_measures(config), score(module, trainer, data))


def data_dir_of(cfg: DictConfig) -> str | None:
    if cfg.data_dir is not None and not isinstance(cfg.data_dir, str):
        raise ValueError(f"expected data_dir to be a text, or null, got {cfg.data_dir}: give one")
    return cfg.data_dir or None


def run_of(path: Path) -> str:
    """`train/loss=mse,lr=0.1,seed=0, best.ckpt`; of a file by itself its name."""
    folder = path.absolute().parent
    if folder.name != "checkpoints":
        return str(path)
    return f"{folder.parent.parent.name}/{folder.parent.name}, {path.name}"
