"""Where the seconds before the first step go, seen by fresh processes."""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from losslab.benchmark.schema import OWN_KEYS

CHILD = Path(__file__).with_name("first_step.py")


def first_step(cfg: DictConfig) -> dict[str, float]:
    """Seconds by stage, from starting Python to the end of the first block of steps."""
    with tempfile.TemporaryDirectory() as folder:
        overrides = [*training_overrides(), f"run.folder='{folder}'"]
        if cfg.random_images:
            overrides += [f"data.root='{cfg.data.root}'", "++data.verify=false"]
        command = [sys.executable, "-P", str(CHILD), json.dumps(overrides), repr(time.time())]
        process = subprocess.run(command, capture_output=True, text=True)
    if process.returncode != 0:
        raise RuntimeError(f"a fresh process did not reach its first step:\n{process.stderr}")
    return json.loads(process.stdout.splitlines()[-1])


def training_overrides() -> list[str]:
    """The overrides of this command that scripts/train.py takes too."""
    overrides = HydraConfig.get().overrides.task
    return [each for each in overrides if each.lstrip("+~").partition("=")[0] not in OWN_KEYS]
