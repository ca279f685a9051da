"""For a notebook or a script of one's own: configurations, runs, and what came of them.

docs/contract.md has an example.
"""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lightning as L
import pandas as pd
import torch
from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf, read_write
from omegaconf.errors import OmegaConfBaseException

from runlab import program
from runlab.analysis import runs
from runlab.analysis.compare import compare as compare
from runlab.components import literal, located, received_data
from runlab.config.arguments import is_sweep, quoted
from runlab.config.fingerprint import key_of
from runlab.config.messages import user_message
from runlab.config.targets import walk
from runlab.runs import checkpoint
from runlab.train import train as train_run

CONF = Path(__file__).resolve().parents[2] / "conf"
"""Beside `src`, where the project is installed as it is (`pip install -e .`)."""

OF_SWEEPS = ("hydra/launcher", "hydra/sweeper", "hydra.launcher", "hydra.sweeper", "hydra.sweep")


def compose(*overrides: str, config_dir: str | Path | None = None) -> DictConfig:
    """What the command `train` with these overrides trains: the configuration of one run.

    The run lies in `logs/<name>` under the working directory. It is named by the overrides, so the
    configuration is read-only: compose another for another run.

    Args:
        config_dir: the project's `conf`; by default the one beside the `src` that runlab is in.

    Raises:
        ValueError: for an override that does not fit, or that is about several runs.
    """
    folder = CONF if config_dir is None else Path(config_dir).expanduser().absolute()
    if not (folder / "train.yaml").is_file():
        raise ValueError(
            f"expected the project's configuration in {folder}, got no train.yaml there: give "
            "compose(…, config_dir=…), or install the project by pip install -e ."
        )
    given = quoted(overrides, ["data_dir"])
    try:
        require_one_run(given)
        with initialize_config_dir(str(folder), version_base="1.3"):
            return for_one_run(hydra_compose("train", given, return_hydra_config=True))
    except (HydraException, OmegaConfBaseException) as error:
        raise ValueError(user_message(error)) from error


def train(cfg: DictConfig) -> dict[str, Any] | None:
    """Trains the run that `cfg` describes, or what is left of it; returns its record.

    Torch's number of threads and its choice of algorithms are afterwards what they were. Lightning
    says no more than in a script.

    Returns None if another process is training it.

    Raises:
        ValueError: for a configuration that cannot be trained, or differs from the one that the
            run's folder holds. Whatever training raised is recorded and raised again.
    """
    with process_as_it_was():
        return train_run(cfg)


def load(path: str | Path) -> L.LightningModule:
    """The trained module that a checkpoint holds, on the CPU, in evaluation mode.

    Raises:
        ValueError: if there is no checkpoint of ours, or it names what it may not.
    """
    module, _ = checkpoint.load(Path(path).expanduser())
    return module


def load_data(path: str | Path, data_dir: str | Path | None = None) -> Any:
    """The data module that a checkpoint's run was trained on, ready for a Trainer.

    Args:
        data_dir: where the data are, or are fetched to; by default where they lay for the run.

    Raises:
        ValueError: if there is no checkpoint of ours, or its data are not there.
    """
    _, config = checkpoint.load(Path(path).expanduser())
    return received_data(located(config, None if data_dir is None else str(data_dir)))


def load_runs(sweep: str | Path) -> pd.DataFrame:
    """One row a run of the sweep, whatever became of it: status, settings, metrics as recorded.

    Raises:
        ValueError: if there are no runs.
    """
    table, *_ = runs.load(Path(sweep).expanduser())
    return table


@contextmanager
def process_as_it_was() -> Iterator[None]:
    """Gives a notebook its own settings back, and keeps what every run would say out of it."""
    lightning = logging.getLogger("lightning.pytorch")
    level, threads = lightning.level, torch.get_num_threads()
    is_deterministic = torch.are_deterministic_algorithms_enabled()
    only_warns = torch.is_deterministic_algorithms_warn_only_enabled()
    benchmark = torch.backends.cudnn.benchmark
    lightning.setLevel(logging.WARNING)
    try:
        yield
    finally:
        lightning.setLevel(level)
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(is_deterministic, warn_only=only_warns)
        torch.backends.cudnn.benchmark = benchmark


def require_one_run(overrides: Sequence[str]) -> None:
    """Raises ValueError for what is about a sweep: it would be left out without a word."""
    for each in overrides:
        of_sweep = each.startswith("-") or key_of(each).startswith(OF_SWEEPS)
        if of_sweep or is_sweep(each):
            raise ValueError(
                f"expected settings of one run, got {each}: compose and train each run in a loop, "
                f"or launch a sweep by {program.name()} train -m"
            )


def for_one_run(cfg: DictConfig) -> DictConfig:
    """The configuration without Hydra's part, of which it holds what it refers to."""
    own = OmegaConf.masked_copy(cfg, [str(key) for key in cfg if key != "hydra"])
    before = HydraConfig.instance().cfg
    HydraConfig.instance().set_config(cfg)
    try:
        folder = str(Path(cfg.hydra.run.dir).absolute())
        with read_write(cfg.hydra.runtime):
            cfg.hydra.runtime.output_dir = folder
        HydraConfig.instance().set_config(cfg)  # it has its own copy
        for key, text in walk(OmegaConf.to_container(own), ""):
            if isinstance(text, str) and (key.startswith("run.") or "${hydra:" in text):
                OmegaConf.update(own, key, literal(plain(cfg, key)), merge=False)
    finally:
        HydraConfig.instance().cfg = before
    OmegaConf.set_readonly(own, True)
    return own


def plain(cfg: DictConfig, key: str) -> Any:
    """The value of a key, of which nothing but the key itself is resolved."""
    value = OmegaConf.select(cfg, key)
    return OmegaConf.to_container(value) if OmegaConf.is_config(value) else value
