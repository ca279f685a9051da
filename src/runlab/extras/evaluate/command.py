"""Test a checkpoint again, alone."""

import logging

from omegaconf import DictConfig

from runlab.cli.loading import loading
from runlab.config import arguments
from runlab.runs import record


def evaluate(cfg: DictConfig) -> None:
    """Prints its metrics; what is wrong with the arguments is told before torch is imported."""
    arguments.checkpoint(cfg, record.why_no_checkpoint)
    with loading():
        from runlab.extras.evaluate.evaluate import evaluate

    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    print(evaluate(cfg).terminal())
