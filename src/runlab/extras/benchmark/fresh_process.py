"""Measuring in a process of its own, where nothing has been imported, cached or freed before."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from runlab.config.fingerprint import key_of
from runlab.extras.benchmark.schema import OWN_KEYS


def run_in_fresh_process(script: str, cfg: DictConfig, *arguments: str) -> Any:
    """What a file beside this one prints at its end, as JSON, in a process of its own.

    It is given the folder of the configuration, the overrides that make `cfg` of train.yaml, as
    JSON, and the arguments.
    """
    with tempfile.TemporaryDirectory() as folder:
        overrides = [*training_overrides(), f"run.folder='{folder}'"]
        if cfg.random_images:
            overrides += [f"data.root='{cfg.data.root}'", "++data.verify=false"]
        path = str(Path(__file__).with_name(script))
        command = [sys.executable, "-P", path, config_dir(), json.dumps(overrides), *arguments]
        process = subprocess.run(command, capture_output=True, text=True)
    if process.returncode != 0:
        raise RuntimeError(f"{script} failed in a fresh process:\n{process.stderr}")
    return json.loads(process.stdout.splitlines()[-1])


def training_overrides() -> list[str]:
    """The overrides of this command that scripts/train.py takes too."""
    overrides = HydraConfig.get().overrides.task
    return [each for each in overrides if key_of(each) not in OWN_KEYS]


def config_dir() -> str:
    """The folder of this command's configuration."""
    [main] = [s for s in HydraConfig.get().runtime.config_sources if s.provider == "main"]
    return str(main.path)
