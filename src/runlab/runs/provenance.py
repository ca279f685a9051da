"""What a result may depend on besides its configuration: code, versions, hardware, data."""

import functools
import importlib.metadata
import os
import platform
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from runlab import __version__

PACKAGES = ("torch", "torchvision", "lightning", "torchmetrics", "hydra-core", "numpy")
DECISIVE = ("runlab", "torch", "torchvision", "lightning", "torchmetrics")
"""Packages whose release series, 2.15 of 2.15.1, changes what the same configuration trains."""


def provenance(trainer: Mapping[str, Any]) -> dict[str, Any]:
    """What a result may depend on besides its configuration, of which `trainer` is a part.

    `data`, the data's checksum, is null as yet; `earlier` is for what it ran on before it was
    stopped and gone on with elsewhere.
    """
    return {
        "git": git_state(),
        "versions": versions(),
        "hardware": hardware(gpu_name(trainer)),
        "data": None,
        "earlier": [],
    }


def place() -> dict[str, str | None]:
    """Where this process is: its machine, its job in SLURM, and the GPUs that it was given."""
    given = os.environ.get
    array, task = given("SLURM_ARRAY_JOB_ID"), given("SLURM_ARRAY_TASK_ID")
    return {
        "host": platform.node() or None,
        "job": f"{array}_{task}" if array and task else given("SLURM_JOB_ID"),
        "device": given("CUDA_VISIBLE_DEVICES") or None,
    }


@functools.cache
def versions() -> dict[str, str]:
    packages = {name: importlib.metadata.version(name) for name in PACKAGES}
    return {"python": platform.python_version(), "runlab": __version__, **packages}


def series(versions: Mapping[str, str]) -> dict[str, str]:
    """Release series of the packages that decide about a result: `{"torch": "2.15"}`."""
    return {
        name: ".".join(versions[name].split("+")[0].split(".")[:2])
        for name in DECISIVE
        if name in versions
    }


@functools.cache
def git_state() -> dict[str, Any]:
    """The revision of the code that runs, null where it lies in no git checkout."""
    here = Path(__file__).parent

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(here), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        return {"revision": git("rev-parse", "HEAD"), "dirty": bool(git("status", "--porcelain"))}
    except (OSError, subprocess.CalledProcessError):
        return {"revision": None, "dirty": None}


@functools.cache
def hardware(gpu: str | None) -> dict[str, Any]:
    return {
        "cpu": cpu_name(),
        "cores": os.cpu_count(),
        "gpu": gpu,
        "platform": platform.platform(),
    }


def gpu_name(trainer: Mapping[str, Any]) -> str | None:
    """Of the GPU that runs with such a trainer train on, of several the first; None on a CPU."""
    if trainer.get("accelerator") == "cpu":
        return None
    import torch  # seconds, which whoever only reads records need not wait

    if not torch.cuda.is_available():
        return None
    devices = trainer.get("devices")
    return torch.cuda.get_device_name(devices[0] if isinstance(devices, list) else None)


def cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
