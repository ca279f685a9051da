"""Configurations as the command line would compose them, without a command line."""

import pickle
import re
from functools import cache
from pathlib import Path

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf, open_dict

import runlab.config.run_name
import runlab.config.schema  # noqa: F401  registers the schema and the resolvers

ROOT = Path(__file__).parents[1]
CONF = ROOT / "conf"

NUMBER = re.compile(r"seed=\d+|optimizer\.lr=[\d.e-]+")
"""An override that changes one number: what is composed without it is the same."""


def compose(*overrides: str, folder: Path | None = None) -> DictConfig:
    """What `scripts/train.py` with these overrides hands to `train`, its folder the one given."""
    numbers = [each for each in overrides if NUMBER.fullmatch(each)]
    cfg = pickle.loads(composed(*(each for each in overrides if each not in numbers)))
    for override in OverridesParser.create().parse_overrides(numbers):
        OmegaConf.update(cfg, override.key_or_group, override.value())
    with open_dict(cfg):
        cfg.hydra.overrides.task = list(overrides)
        cfg.hydra.mode = "RUN"
        cfg.hydra.runtime.output_dir = str(folder or "nowhere")
    HydraConfig.instance().set_config(cfg)
    resolved: DictConfig = pickle.loads(pickle.dumps(cfg))
    with open_dict(resolved):
        del resolved["hydra"]
    return resolved


@cache  # it takes half the time of a run
def composed(*overrides: str) -> bytes:
    """The configuration by pickle, which copies it five times as fast as `copy` does."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = hydra_compose("train", overrides=list(overrides), return_hydra_config=True)
    return pickle.dumps(cfg)
