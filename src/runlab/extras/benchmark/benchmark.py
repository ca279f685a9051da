"""The benchmark: its baselines by turns, round after round, in one process."""

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from runlab import atomic
from runlab.analysis.rendering import render
from runlab.components import build_module, build_trainer
from runlab.config.fingerprint import key_of
from runlab.extras.benchmark import report
from runlab.extras.benchmark.baselines import BareLoop, LightningDataLoader, Template
from runlab.extras.benchmark.data import (
    ImageDataset,
    random_settings,
    tensor_data,
    use_random_samples,
)
from runlab.extras.benchmark.limits import PeakRates, resource, step_bytes, step_flops
from runlab.extras.benchmark.results import Memory, Results
from runlab.extras.benchmark.schema import OWN_KEYS, check
from runlab.extras.benchmark.stacked import StackedRuns
from runlab.extras.benchmark.timing import (
    Baseline,
    preserve_torch_settings,
    run_interleaved,
    run_once,
)
from runlab.module import require_network
from runlab.runs.devices import check_devices
from runlab.runs.provenance import provenance
from runlab.stacks import available_cores
from runlab.text import plural

AUTOCAST = {"32-true": None, "bf16-mixed": torch.bfloat16}


def benchmark(cfg: DictConfig) -> Results:
    """Measures what `cfg` describes, prints the tables, and writes the files that it asks for.

    Raises:
        ValueError: for a configuration that cannot be timed, before anything is.
    """
    check(cfg)
    check_devices(cfg.trainer)
    torch.set_num_threads(cfg.threads)
    cfg = cfg.copy()
    with TemporaryDirectory() as folder, preserve_torch_settings():
        cfg.run.folder = folder
        if cfg.random_samples:
            use_random_samples(cfg)
        results = measure(cfg)
    print(report.terminal(results))
    if cfg.markdown is not None:
        atomic.replace(Path(cfg.markdown), report.markdown(results).encode())
    if cfg.json is not None:
        atomic.replace(Path(cfg.json), f"{json.dumps(asdict(results), indent=1)}\n".encode())
    if cfg.figure is not None:
        path = Path(cfg.figure)
        atomic.replace(path, render(report.scaling_figure(results), path.stem)[path.name])
    return results


def measure(cfg: DictConfig) -> Results:
    trainer = build_trainer(cfg)
    if trainer.world_size != 1 or trainer.precision not in AUTOCAST:
        raise ValueError(
            f"expected a trainer with one device and precision {' or '.join(AUTOCAST)}, got "
            f"{trainer.world_size} of precision {trainer.precision}"
        )
    device, autocast = trainer.strategy.root_device, AUTOCAST[str(trainer.precision)]
    data = tensor_data(cfg)
    steps = data.steps_per_epoch if cfg.steps is None else cfg.steps
    bare = bare_loop(cfg, data, device, autocast)
    template = Template(cfg, data.steps_per_epoch)
    template.length(steps)  # raises ValueError for steps that it cannot take
    processes = available_cores() if device.type == "cpu" else 1
    stacks = [
        StackedRuns(cfg, data.steps_per_epoch, runs, device, processes) for runs in cfg.stacks
    ]
    others = [lightning_data_loader(cfg, data, workers) for workers in cfg.workers]
    baselines: list[Baseline] = [bare, template, *stacks, *others]
    warm_up(baselines, template, stacks)
    threads = {each.name: cfg.threads for each in baselines}
    threads |= {each.name: available_cores() for each in stacks}
    dtype, batch = autocast or torch.float32, next(bare.batches())
    rates = PeakRates(device, dtype, threads.values())
    plain_trainer: Any = OmegaConf.to_container(cfg.trainer, resolve=True)
    seconds = run_interleaved(baselines, rates.measure, steps, cfg.rounds)
    return Results(
        descriptions={each.name: each.description for each in baselines},
        seconds=seconds,
        rounds=cfg.rounds,
        steps=steps,
        batch_size=cfg.data.batch_size,
        stacks={each.name: each.runs for each in stacks},
        breakdown={each.name: each.breakdown for each in stacks},
        memory={each.name: measure_memory(cfg, each.runs) for each in stacks if cfg.memory},
        step_flops=step_flops(bare.initial, bare.loss, *batch),
        step_bytes=step_bytes(bare.initial, bare.loss, bare.optimizer, *batch),
        resource={name: resource(device, number) for name, number in threads.items()},
        flops=rates.flops,
        copied=rates.copied,
        seconds_outside_training=template.seconds_outside_training,
        startups=[measure_startup(cfg) for _ in range(cfg.startups)],
        settings=settings(cfg, bare, dtype, type(data).__name__),
        provenance=provenance(plain_trainer) | {"data": data.checksum},
    )


def warm_up(
    baselines: Sequence[Baseline], template: Template, stacks: Sequence[StackedRuns]
) -> None:
    """Imports and fills caches by a few steps of each, of which nothing is kept."""
    for baseline in baselines:
        run_once(baseline, template.fewest_steps)
    template.seconds_outside_training.clear()
    for each in stacks:
        each.breakdown.clear()


# The baselines that need the template's own network, loss, optimizer and data


def bare_loop(
    cfg: DictConfig, data: Any, device: torch.device, autocast: torch.dtype | None = None
) -> BareLoop:
    """With the template's own initial weights and batches."""
    module = require_network(build_module(cfg))
    return BareLoop(
        module.network,
        module.loss,
        module.optimizer_factory,
        data.train_dataloader(),
        data.mean,
        data.std,
        device,
        autocast,
    )


def lightning_data_loader(cfg: DictConfig, data: Any, workers: int) -> LightningDataLoader:
    module = require_network(build_module(cfg))
    return LightningDataLoader(
        module.network,
        module.loss,
        module.optimizer_factory,
        ImageDataset(data.read().train, data.mean, data.std),
        data.batch_size,
        workers,
        accelerator=cfg.trainer.accelerator,
        devices=cfg.trainer.devices,
        precision=cfg.trainer.get("precision"),
    )


def settings(cfg: DictConfig, bare: BareLoop, dtype: torch.dtype, data: str) -> dict[str, str]:
    parameters = sum(parameter.numel() for parameter in bare.initial.parameters())
    return {
        "network": f"{type(bare.initial).__name__} of {parameters:,} parameters",
        "loss": type(bare.loss).__name__,
        "optimizer": cfg.optimizer._target_.rpartition(".")[2],
        "data": "random samples" if cfg.random_samples else data,
        "precision": str(dtype).removeprefix("torch."),
        "device": str(bare.device),
        "threads": plural(cfg.threads, "thread"),
    }


# What only a new process can tell


def measure_startup(cfg: DictConfig) -> dict[str, float]:
    """Seconds by stage, from starting Python to the end of the first block of steps."""
    return run_in_new_process("startup.py", cfg, repr(time.time()))


def measure_memory(cfg: DictConfig, runs: int) -> Memory:
    return Memory(**run_in_new_process("peak_memory.py", cfg, str(runs)))


def run_in_new_process(script: str, cfg: DictConfig, argument: str) -> Any:
    """What a script beside this file prints at its end, as JSON, in a process of its own.

    It is given the folder of configurations, the overrides that make `cfg` of train.yaml, as JSON,
    and the argument.
    """
    with TemporaryDirectory() as folder:
        overrides = [*training_overrides(), f"run.folder='{folder}'"]
        if cfg.random_samples:
            values = random_settings(cfg).items()
            overrides += [f"++data.{key}={json.dumps(value)}" for key, value in values]
        path = str(Path(__file__).with_name(script))
        command = [sys.executable, "-P", path, config_folder(), json.dumps(overrides), argument]
        process = subprocess.run(command, capture_output=True, text=True)
    if process.returncode != 0:
        raise RuntimeError(f"{script} failed in a new process:\n{process.stderr}")
    return json.loads(process.stdout.splitlines()[-1])


def training_overrides() -> list[str]:
    """The overrides of this command that the command `train` takes too."""
    overrides = HydraConfig.get().overrides.task
    return [each for each in overrides if key_of(each) not in OWN_KEYS]


def config_folder() -> str:
    """Where this command has its configuration from."""
    [folder] = [
        each.path for each in HydraConfig.get().runtime.config_sources if each.provider == "main"
    ]
    return folder
