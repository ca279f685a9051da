"""The other processes of a run on several devices: what starts them, and ends them with the run.

Each trains the whole run, as this one does, and they meet at each step. Lightning would start them
by the command that started this one: a multirun would be launched once more in each. Its
`ddp_spawn` and `ddp_fork` start others for each fit, validation and test, and give back the weights
alone: neither the epochs trained nor what callbacks keep.
"""

import logging
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

import lightning as L
import torch.distributed
from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import setup_globals
from lightning.pytorch.strategies.launchers import (
    _MultiProcessingLauncher,
    _SubprocessScriptLauncher,
)
from omegaconf import DictConfig

from runlab.module import stack_of_run

EVERY = 0.2
"""Seconds between two looks at whether the process that started this one is still there."""

VARIABLES = ("MASTER_ADDR", "MASTER_PORT", "NODE_RANK", "LOCAL_RANK", "WORLD_SIZE")
"""In the environment: what tells a process which of a run's it is, and where they meet."""

PATIENCE = 60.0
"""Seconds in which the others end once this process has ended the run."""


class Ranks:
    """The processes beside this one in which a run trains; none for a run on one device.

    A context, at the end of which they have ended, and nothing of them is left to the next run.
    """

    def __init__(self, train: Callable[[DictConfig], Any], cfg: DictConfig) -> None:
        self.train, self.cfg = train, cfg
        self.processes: list[Any] = []
        self.ready: list[Connection] = []
        self.environment = {name: os.environ.get(name) for name in VARIABLES}

    def __enter__(self) -> "Ranks":
        return self

    def __exit__(self, kind: Any, *raised: Any) -> None:
        for process in self.processes:
            if kind is None:
                process.join(PATIENCE)
        self.kill()
        if self.processes and torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()
        for name, value in self.environment.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value

    def kill(self) -> None:
        for process in self.processes:
            process.kill()  # one that waits for another heeds no other signal
            process.join()

    def launch_with(self, trainer: L.Trainer) -> None:
        """Has the trainer's first fit start them.

        Raises:
            ValueError: for several devices in a stack, or processes that Lightning would fork.
        """
        if trainer.world_size > 1 and stack_of_run.get() is not None:
            raise ValueError(
                f"expected a run on one device in a stack, got one on {trainer.world_size}: launch "
                "the sweep by hydra/launcher=basic, one run after another"
            )
        strategy: Any = trainer.strategy
        if isinstance(strategy.launcher, _MultiProcessingLauncher):
            raise ValueError(
                "expected trainer.strategy=ddp for a run on several devices, got one that spawns "
                "or forks for each fit and each test, and returns only a part of what they know"
            )
        if trainer.world_size > 1:
            # Lightning's tells the other processes of SIGTERM, and hangs within what they share
            trainer._signal_connector._sigterm_notifier_fn = lambda *_: None  # type: ignore[method-assign]
        for connection in parents:
            connection.send(None)
        environment = getattr(strategy, "cluster_environment", None)
        is_ours = environment is not None and not environment.creates_processes_externally
        if isinstance(strategy.launcher, _SubprocessScriptLauncher) and is_ours:
            strategy._launcher = RankLauncher(environment, strategy.num_processes, self)

    def start(self, number: int, address: str, port: int) -> None:
        """Starts those from 1 on; this process is the first."""
        os.environ |= {"MASTER_ADDR": address, "MASTER_PORT": str(port), "NODE_RANK": "0"}
        os.environ["WORLD_SIZE"] = str(number)
        context = multiprocessing.get_context("spawn")  # autograd and CUDA survive no fork
        for rank in range(1, number):
            os.environ["LOCAL_RANK"] = str(rank)
            receiver, sender = context.Pipe(duplex=False)
            arguments = (os.getpid(), sender, HydraConfig.instance().cfg, self.train, self.cfg)
            process = context.Process(target=train_rank, args=arguments)
            process.start()
            sender.close()
            self.processes.append(process)
            self.ready.append(receiver)
        os.environ["LOCAL_RANK"] = "0"

    def wait_until_ready(self) -> None:
        """Raises RuntimeError if one has ended: in C, others would wait half an hour for it."""
        for process, ready in zip(self.processes, self.ready, strict=True):
            try:
                ready.recv()
            except EOFError:
                process.join()
                raise RuntimeError(
                    f"expected {len(self.processes) + 1} processes to train the run, got one that "
                    f"ended before it began (exit code {process.exitcode}): its error is above"
                ) from None
        self.ready = []


class RankLauncher(_SubprocessScriptLauncher):
    """Lightning's for `ddp`, with processes that train this run alone."""

    def __init__(self, environment: Any, number: int, ranks: Ranks) -> None:
        super().__init__(environment, number, num_nodes=1)
        self.ranks = ranks

    def launch(
        self, function: Callable[..., Any], *args: Any, trainer: Any = None, **kwargs: Any
    ) -> Any:
        if not self.ranks.processes:
            environment = self.cluster_environment
            address, port = environment.main_address, environment.main_port
            self.ranks.start(self.num_processes, address, port)
            self.ranks.wait_until_ready()
        try:
            return function(*args, **kwargs)
        except BaseException:
            self.ranks.kill()  # before Lightning cleans up, and waits for them
            raise


parents: list[Connection] = []
"""In such a process: who waits until the run is built here."""


def train_rank(
    parent: int, ready: Connection, hydra: Any, train: Callable[[DictConfig], Any], cfg: DictConfig
) -> None:
    """What such a process does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C: the parent ends it
    threading.Thread(target=end_with, args=(parent,), daemon=True).start()
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)  # as in the parent
    parents.append(ready)
    setup_globals()
    HydraConfig.instance().cfg = hydra
    try:
        train(cfg)
    except Exception:
        if os.getppid() == parent:  # else it has ended, and the connection with it
            raise


def end_with(parent: int) -> None:
    """Ends this process once its parent is gone, also where that could not say so: `kill -9`."""
    while os.getppid() == parent:
        time.sleep(EVERY)
    os._exit(1)
