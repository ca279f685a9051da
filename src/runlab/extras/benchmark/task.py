"""The benchmark: all baselines in each of several rounds, in one process."""

import json
import time
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig
from torchvision import transforms

from runlab.analysis.rendering import render
from runlab.components import build_module, build_trainer
from runlab.extras.benchmark import random_images, report
from runlab.extras.benchmark.arithmetic import Machine, device_name, step_bytes, step_flops
from runlab.extras.benchmark.baselines import (
    Bare,
    Baseline,
    LightningWithDataLoader,
    Template,
    run_interleaved,
    run_once,
    torch_settings_restored,
)
from runlab.extras.benchmark.figure import scaling_figure
from runlab.extras.benchmark.fresh_process import run_in_fresh_process
from runlab.extras.benchmark.results import Memory, Results
from runlab.extras.benchmark.schema import check
from runlab.extras.benchmark.stacked import Stacked
from runlab.runs import provenance
from runlab.stacks import available_cores
from runlab.text import plural

AUTOCAST = {"32-true": None, "bf16-mixed": torch.bfloat16}


def benchmark(cfg: DictConfig) -> Results:
    """Measures what `cfg` describes, prints the tables, and writes the files that it asks for.

    Raises:
        ValueError: for a configuration that cannot be timed, before anything is.
    """
    check(cfg)
    torch.set_num_threads(cfg.threads)
    with TemporaryDirectory() as folder, torch_settings_restored():
        cfg = cfg.copy()
        cfg.run.folder = folder
        if cfg.random_images:
            random_images.write(cfg, Path(folder))
        results = measure(cfg)
    print(report.terminal(results))
    if cfg.markdown is not None:
        Path(cfg.markdown).write_text(report.markdown(results))
    if cfg.json is not None:
        Path(cfg.json).write_text(json.dumps(asdict(results), indent=1) + "\n")
    if cfg.figure is not None:
        path = Path(cfg.figure)
        path.write_bytes(render(scaling_figure(results), path.stem)[path.name])
    return results


def measure(cfg: DictConfig) -> Results:
    trainer = build_trainer(cfg)
    if trainer.world_size != 1 or trainer.precision not in AUTOCAST:
        raise ValueError(
            f"expected a trainer with one device and precision {' or '.join(AUTOCAST)}, got "
            f"{trainer.world_size} of precision {trainer.precision}"
        )
    device, autocast = trainer.strategy.root_device, AUTOCAST[str(trainer.precision)]
    data = as_tensors(cfg)
    steps = data.steps_per_epoch if cfg.steps is None else cfg.steps
    bare = bare_loop(cfg, data, device, autocast)
    template = Template(cfg, data.steps_per_epoch)
    template.length(steps)  # raises ValueError for steps that it cannot take
    others = (with_data_loader(cfg, data, workers) for workers in cfg.workers)
    processes = available_cores() if device.type == "cpu" else 1
    stacks = [Stacked(cfg, data.steps_per_epoch, runs, device, processes) for runs in cfg.stacks]
    baselines: list[Baseline] = [bare, template, *stacks, *others]
    for baseline in baselines:
        run_once(baseline, template.shortest)  # imports, caches
    template.outside.clear()
    for each in stacks:
        each.spent.clear()
    threads = {each.name: cfg.threads for each in baselines}
    threads |= {each.name: available_cores() for each in stacks}
    dtype, batch = autocast or torch.float32, next(bare.batches())
    machine = Machine(device, dtype, threads.values())
    seconds = run_interleaved(baselines, machine.measure, steps, cfg.rounds)
    return Results(
        descriptions={baseline.name: baseline.description for baseline in baselines},
        seconds=seconds,
        rounds=cfg.rounds,
        steps=steps,
        batch_size=cfg.data.batch_size,
        stacks={each.name: each.runs for each in stacks},
        spent={each.name: each.spent for each in stacks},
        memory={each.name: memory(cfg, each.runs) for each in stacks if cfg.memory},
        step_flops=step_flops(bare.initial, bare.loss, *batch),
        step_bytes=step_bytes(bare.initial, bare.loss, bare.optimizer, *batch),
        place={name: device_name(device, number) for name, number in threads.items()},
        flops=machine.flops,
        copied=machine.copied,
        outside_training=template.outside,
        startups=[first_step(cfg) for _ in range(cfg.startups)],
        settings=settings(cfg, bare, dtype, data.name),
        provenance=provenance.provenance() | {"data": data.checksum},
    )


def first_step(cfg: DictConfig) -> dict[str, float]:
    """Seconds by stage, from starting Python to the end of the first block of steps."""
    return run_in_fresh_process("first_step.py", cfg, repr(time.time()))


def memory(cfg: DictConfig, runs: int) -> Memory:
    return Memory(**run_in_fresh_process("peak_memory.py", cfg, str(runs)))


def as_tensors(cfg: DictConfig) -> Any:
    """The data ready for the bare loop, whichever loader losslab itself is to use."""
    tensors = {"loader": "tensor", "transform": None, "eval_transform": None, "num_workers": 0}
    data = instantiate(cfg.data, **tensors)
    data.prepare_data()
    data.setup("fit")
    return data


def bare_loop(
    cfg: DictConfig, data: Any, device: torch.device, autocast: torch.dtype | None = None
) -> Bare:
    """Template's own start and batches."""
    module = build_module(cfg, data)
    return Bare(
        module.network,
        module.loss,
        module.optimizer_factory,
        data.train_dataloader(),
        data.mean,
        data.std,
        device,
        autocast,
    )


def with_data_loader(cfg: DictConfig, data: Any, workers: int) -> LightningWithDataLoader:
    module = build_module(cfg, data)
    transform = transforms.Compose(
        [transforms.ToTensor(), transforms.Normalize((data.mean,), (data.std,))]
    )
    return LightningWithDataLoader(
        module.network,
        module.loss,
        module.optimizer_factory,
        data.source.dataset(data.folder.parents[1], train=True, transform=transform),
        data.batch_size,
        workers,
        accelerator=cfg.trainer.accelerator,
        devices=cfg.trainer.devices,
        precision=cfg.trainer.get("precision"),
    )


def settings(cfg: DictConfig, bare: Bare, dtype: torch.dtype, data: str) -> dict[str, str]:
    parameters = sum(parameter.numel() for parameter in bare.initial.parameters())
    return {
        "network": f"{type(bare.initial).__name__} of {parameters:,} parameters",
        "loss": type(bare.loss).__name__,
        "optimizer": cfg.optimizer._target_.rpartition(".")[2],
        "data": "random images" if cfg.random_images else data,
        "precision": str(dtype).removeprefix("torch."),
        "device": str(bare.device),
        "threads": plural(cfg.threads, "thread"),
    }
