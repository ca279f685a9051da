"""What a sweeper that chooses its next runs by the results of earlier ones is told of each."""

import sys
from collections.abc import Sequence
from math import inf, isfinite
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from runlab.config.schema import unknown
from runlab.measure import Measure, declared_measures
from runlab.train import train


def train_and_report(cfg: DictConfig) -> float | None:
    """Trains the run that `cfg` describes; returns the metric that `cfg.objective` names.

    A diverged run's metric is that of its best weights, as any other's; one that is no number
    counts as infinite: as bad as can be.

    Raises:
        ValueError: if another process is training the run; and whatever `train` raises.
        SystemExit: before anything is trained, if the objective is none that the sweeper can use.
    """
    config: Any = OmegaConf.to_container(cfg)
    if wrong := mistake(cfg.objective, declared_measures(config)):
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


def mistake(objective: str | None, measures: Sequence[Measure]) -> str:
    """What is wrong with the objective, whichever the run; empty if nothing is."""
    by_metric = {f"val/{each.name}": each for each in measures}
    if objective is not None and objective not in by_metric:
        return unknown(f"objective={objective}", objective, "metric", by_metric)
    direction = HydraConfig.get().sweeper.get("direction")
    if direction is None:
        return ""  # this sweeper does not ask for one
    if objective is None:
        return (
            "expected an objective for a sweeper that chooses runs by their results, got null: "
            f"name one of {', '.join(by_metric)}"
        )
    got = getattr(direction, "name", direction)
    better = "maximize" if by_metric[objective].higher_is_better else "minimize"
    if got == better:
        return ""
    return f"expected hydra.sweeper.direction={better} with objective={objective}, got {got}"
