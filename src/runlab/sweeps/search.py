"""What a sweeper that chooses its next runs by the results of earlier ones is told of each."""

import sys
from math import inf, isfinite
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from losslab.classifier import quality
from runlab.config.schema import unknown
from runlab.train import train

METRICS = [f"val/{name}" for name in quality(num_classes=2)]
HIGHER_IS_BETTER = ("val/accuracy",)


def train_and_report(cfg: DictConfig) -> float | None:
    """Trains the run that `cfg` describes; returns the metric that `cfg.objective` names.

    A diverged run's accuracy is the one it had, at chance; its losses may be no numbers, and are
    infinite then: as bad as can be.

    Raises:
        ValueError: if another process is training the run; and whatever `train` raises.
        SystemExit: before anything is trained, if the objective is none that the sweeper can use.
    """
    if wrong := mistake(cfg.objective):
        sys.exit(wrong)
    entry = train(cfg)
    if cfg.objective is None:
        return None
    if entry is None:
        raise ValueError(
            f"expected {cfg.objective} of {Path(cfg.run.folder).name}, which another process is "
            "training: start this again when it has ended"
        )
    value = entry["metrics"][cfg.objective]
    return value if value is not None and isfinite(value) else inf  # null in a record that was read


def mistake(objective: str | None) -> str:
    """What is wrong with the objective, whichever the run; empty if nothing is."""
    if objective is not None and objective not in METRICS:
        return unknown(f"objective={objective}", objective, "metric", METRICS)
    direction = HydraConfig.get().sweeper.get("direction")
    if direction is None:
        return ""  # this sweeper does not ask for one
    if objective is None:
        return (
            "expected an objective for a sweeper that chooses runs by their results, got null: "
            f"name one of {', '.join(METRICS)}"
        )
    got = getattr(direction, "name", direction)
    better = "maximize" if objective in HIGHER_IS_BETTER else "minimize"
    if got == better:
        return ""
    return f"expected hydra.sweeper.direction={better} with objective={objective}, got {got}"
