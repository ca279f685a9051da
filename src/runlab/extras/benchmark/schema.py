"""What a benchmark's configuration may hold, and what of it cannot be timed."""

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING, DictConfig, OmegaConf

from runlab.analysis.rendering import FORMATS
from runlab.config import schema as configuration
from runlab.launchers.stacked import LARGEST_STACK

SUFFIXES = [f".{kind}" for kind in FORMATS]


@dataclass
class Benchmark(configuration.Train):
    """Every top-level key of a benchmark's configuration."""

    run: Any = MISSING  # typed, its own missing values would replace those of train.yaml
    rounds: int = MISSING
    steps: int | None = None
    workers: list[int] = field(default_factory=list)
    stacks: list[int] = field(default_factory=list)
    memory: bool = MISSING
    startups: int = MISSING
    random_samples: bool = MISSING
    input_shape: list[int] | None = None
    target_values: int | None = None
    json: str | None = None
    markdown: str | None = None
    figure: str | None = None


TRAIN_KEYS = {field.name for field in fields(configuration.Train)}
OWN_KEYS = {field.name for field in fields(Benchmark)} - TRAIN_KEYS


def schema() -> DictConfig:
    """Merged after train.yaml, so it leaves that file's values as they are."""
    node = OmegaConf.structured(Benchmark)
    for key in TRAIN_KEYS:
        node[key] = MISSING
    return node


ConfigStore.instance().store(name="benchmark_schema", node=schema(), provider="runlab")


def check(cfg: DictConfig) -> None:
    """Raises ValueError for a value that nothing can be timed with."""
    config: Any = OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)
    configuration.check({key: config[key] for key in TRAIN_KEYS})
    for key, least in {"rounds": 1, "startups": 0}.items():
        if config[key] < least:
            raise ValueError(f"expected {key} of at least {least}, got {config[key]}")
    if config["steps"] is not None and config["steps"] < 1:
        raise ValueError(
            f"expected steps of at least 1, or null for an epoch, got {config['steps']}"
        )
    for workers in config["workers"]:
        configuration.check_count("workers", workers, least=0)
    for runs in config["stacks"]:
        configuration.check_count("stacks", runs, most=LARGEST_STACK)
    if len(set(config["stacks"])) < len(config["stacks"]):
        raise ValueError(f"expected stacks of different sizes, got {config['stacks']}")
    if config["scheduler"] or config["trainer"]["gradient_clip_val"] is not None:
        raise ValueError(
            "expected scheduler=none and trainer.gradient_clip_val=null: the bare loop has neither"
        )
    for key in ("json", "markdown", "figure"):
        if config[key] is not None and not Path(config[key]).absolute().parent.is_dir():
            raise ValueError(f"expected {key} in a folder that exists, got {config[key]}")
        if config[key] is not None and Path(config[key]).exists() and not config["overwrite"]:
            raise ValueError(
                f"expected {key} to be a new file, but {config[key]} exists: name another, or "
                "replace it with overwrite=true"
            )
    if config["figure"] is not None:
        check_figure(config["figure"], config["stacks"])


def check_figure(figure: str, stacks: list[int]) -> None:
    if Path(figure).suffix not in SUFFIXES:
        raise ValueError(f"expected figure to end in {' or '.join(SUFFIXES)}, got {figure}")
    if len(stacks) < 2:
        raise ValueError(
            f"expected two stack sizes or more for a figure of time against them, got {stacks}: "
            f"give stacks=[1,2,5,10], say, or leave figure out"
        )
