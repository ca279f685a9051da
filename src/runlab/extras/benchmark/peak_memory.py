"""Run by benchmark.py in a new process: trains one run, then several together.

In a process that has trained before, freed memory that the C library keeps would hide what they
take. Arguments: the folder of configurations, the overrides as JSON, and the number of runs. Prints
both peaks.
"""

import json
import re
import sys
from pathlib import Path

import torch
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from hydra.utils import instantiate
from omegaconf import open_dict

import runlab.config.schema  # noqa: F401  registers the schema
from runlab.components import build_trainer
from runlab.extras.benchmark.baselines import Template
from runlab.extras.benchmark.stacked import StackedRuns

STATUS = Path("/proc/self/status")
BLOCKS = 3  # one is computed, the next one is there already


def main(conf: str, overrides: list[str], runs: int) -> None:
    with initialize_config_dir(conf, version_base="1.3"):
        cfg = compose("train", overrides=overrides, return_hydra_config=True)
    HydraConfig.instance().set_config(cfg)
    with open_dict(cfg):
        del cfg["hydra"]
    device = build_trainer(cfg).strategy.root_device
    steps_per_epoch = instantiate(cfg.data).steps_per_epoch
    template = Template(cfg, steps_per_epoch)
    steps = min(BLOCKS * template.block_size, steps_per_epoch)
    template.run(steps)
    alone = peak(device)
    StackedRuns(cfg, steps_per_epoch, runs, device).run(steps)
    print(json.dumps({"alone": alone, "together": peak(device)}))


def peak(device: torch.device) -> int | None:
    """Bytes: on CUDA of torch's tensors, on a CPU under Linux of the process; elsewhere not known.

    CUDA's own memory is not counted, nor what torch's allocator keeps ready.
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if device.type != "cpu" or not STATUS.exists():
        return None
    # getrusage() has it on macOS too, but on Linux not less than its parent's
    found = re.search(r"^VmHWM:\s+(\d+) kB$", STATUS.read_text(encoding="utf-8"), re.MULTILINE)
    return 1024 * int(found[1]) if found is not None else None


if __name__ == "__main__":
    main(sys.argv[1], json.loads(sys.argv[2]), int(sys.argv[3]))
