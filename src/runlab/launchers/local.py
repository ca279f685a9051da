"""Stacks on this machine: in this process, or in several, which share its cores or its GPUs."""

import os
from collections.abc import Generator, Sequence
from typing import Any

from omegaconf import DictConfig

from runlab.config.kinds import shown
from runlab.config.schema import check_count
from runlab.launchers.part import Job, Part
from runlab.launchers.processes import VISIBLE, Slot, run_in_processes, share_devices
from runlab.launchers.stacked import Result, StackedMixin


class StackedLauncherMixin(StackedMixin):
    """One stack after the other, or several at a time in processes of their own.

    Args:
        size, compile: as in `StackedMixin`.
        processes: how many stacks train at a time. None takes one for each core where runs are on
            the CPU, else one for each GPU. Runs alike are divided among them, in stacks of at least
            five.
        devices: the GPUs to use, as CUDA_VISIBLE_DEVICES names them; None takes all of them. Each
            process sees one of them; several processes on one share its memory evenly.
    """

    def __init__(
        self,
        size: int = 50,
        processes: int | None = None,
        devices: Sequence[int | str] | None = None,
        compile: str | None = None,
    ) -> None:
        super().__init__(size, compile)
        if processes is not None:
            check_count("hydra.launcher.processes", processes)
        if devices is not None:
            check_devices(devices)
        self.processes = processes
        self.devices = None if devices is None else [str(each) for each in devices]
        self.slots = [Slot()]

    def at_a_time(self, jobs: Sequence[Job]) -> int:
        self.slots = self.suitable_slots(jobs)
        return len(self.slots)

    def execute(self, parts: Sequence[Part]) -> Generator[tuple[int, Result]]:
        from runlab.stacks import available_cores

        processes = min(len(self.slots), len(parts))
        if processes <= 1 and self.devices is None:
            for number, part in enumerate(parts):
                yield number, self.train(part.jobs)
            return
        for part in parts:
            part.cores = max(available_cores() // processes, 1)
        yield from run_in_processes(parts, self.slots)

    def suitable_slots(self, jobs: Sequence[Job]) -> list[Slot]:
        """What suits the machine and the device that runs are on, where nothing was said."""
        from runlab.stacks import available_cores

        if self.devices is not None:
            return share_devices(self.devices, self.processes or len(self.devices))
        if not jobs:
            return [Slot()]
        trainer, workers = self.trainer_of(jobs)
        if trainer.get("accelerator") == "cpu" or not has_gpu():
            # a DataLoader's processes use the other cores
            return [Slot()] * (self.processes or (1 if workers else available_cores()))
        if trainer.get("devices", "auto") not in ("auto", 1, "1"):
            return [Slot()] * (self.processes or 1)  # the user has chosen among them
        devices = visible_devices()
        return share_devices(devices, self.processes or max(len(devices), 1))

    def trainer_of(self, jobs: Sequence[Job]) -> tuple[DictConfig, int]:
        """Settings of the first run: its trainer's, and how many processes load its data."""
        assert self.hydra_context is not None
        loader = self.hydra_context.config_loader
        config = loader.load_sweep_config(self.config, list(jobs[0].overrides))  # type: ignore[arg-type]
        return config.trainer, config.data.get("num_workers", 0)


def has_gpu() -> bool:
    import torch  # seconds; Hydra imports plugins even for --help

    return torch.accelerator.is_available()


def visible_devices() -> list[str]:
    """The names of the GPUs that CUDA sees, none of which is used for that."""
    import torch

    count = torch.cuda.device_count()
    given = os.environ.get(VISIBLE)
    names = [str(each) for each in range(count)] if given is None else given.split(",")
    return [each.strip() for each in names[:count]]


def check_devices(devices: Any) -> None:
    """Raises ValueError for what is no list of numbers or names of devices."""
    is_list = not isinstance(devices, str) and isinstance(devices, Sequence)
    if (
        not is_list
        or not devices
        or not all(type(each) in (int, str) and each != "" for each in devices)
    ):
        raise ValueError(
            "expected hydra.launcher.devices to be a list of GPUs, such as [0,1], got "
            f"{shown(devices)}: name those to use, or leave it out for all"
        )
