"""Train one run, or with -m a sweep of runs."""

from typing import Any

from omegaconf import DictConfig


def train(cfg: DictConfig) -> Any:
    """As `train_and_report`, which Hydra's callback has imported by then."""
    from runlab.sweeps.search import train_and_report

    return train_and_report(cfg)
