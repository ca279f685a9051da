"""What a sweeper that chooses its next runs by the results of earlier ones is told of each."""

import logging
import sys
from collections.abc import Sequence
from math import inf, isfinite
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from runlab.config.run_name import is_multirun
from runlab.config.schema import unknown
from runlab.measure import Measure, declared_measures
from runlab.module import stack_of_run
from runlab.runs import lock
from runlab.runs.next_steps import next_steps
from runlab.text import printable
from runlab.train import train

log = logging.getLogger(__name__)


def train_and_report(cfg: DictConfig) -> float | None:
    """Trains the run that `cfg` describes; returns the metric that `cfg.objective` names.

    A diverged run's metric is that of its best weights, as any other's; one that is no number
    counts as infinite: as bad as can be. If another process is training the run, its result is
    waited for; but not in a stack, whose other runs would wait too: there None is returned, and the
    launcher asks again.

    Raises:
        ValueError: whatever `train` raises.
        SystemExit: before anything is trained, if the objective is none that the sweeper can use.
    """
    if wrong := mistake(cfg.objective, declared_measures(cfg)):
        sys.exit(wrong)
    entry = train(cfg)
    if cfg.objective is None:
        if entry is not None and not is_multirun():
            log.info("%s", "\n".join(map(printable, next_steps(Path(cfg.run.folder)))))
        return None
    while entry is None:
        if stack_of_run.get() is not None:
            return None
        folder = Path(cfg.run.folder)
        log.info("%s%s: its result is waited for", cfg.run.position, folder.name)
        lock.wait_until_free(folder)
        entry = train(cfg)
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
