"""Parts of a sweep in processes of this machine; each process has one device of a list."""

import multiprocessing
import os
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection, wait
from typing import Any, NamedTuple, TypeVar

import cloudpickle

from runlab.launchers.part import LostPartError

T = TypeVar("T")

VISIBLE = "CUDA_VISIBLE_DEVICES"
ALLOCATOR = "PYTORCH_ALLOC_CONF"
"""Variables that CUDA, and PyTorch's memory of it, read once: when a process first uses a GPU."""

PATIENCE = 2.0, 30.0
"""Seconds for a process to end by itself, then at a request to."""


class Slot(NamedTuple):
    """A place for one process.

    Attributes:
        device: as `CUDA_VISIBLE_DEVICES` names it; None leaves the process all that there are.
        share: of the device's memory that the process may take.
    """

    device: str | None = None
    share: float = 1.0

    def environment(self) -> dict[str, str]:
        if self.device is None:
            return {}
        return {VISIBLE: self.device} | memory_limit(self.share)


def memory_limit(share: float) -> dict[str, str]:
    """The variable that has PyTorch take no more of a GPU's memory than that."""
    if share >= 1:
        return {}
    own = f"per_process_memory_fraction:{share:.4g}"
    given = os.environ.get(ALLOCATOR, os.environ.get("PYTORCH_CUDA_ALLOC_CONF", ""))
    return {ALLOCATOR: ",".join(filter(None, [given, own]))}


def share_devices(devices: Sequence[str], processes: int) -> list[Slot]:
    """So many places, dealt out over the devices in turn; without devices they have none."""
    if not devices:
        return [Slot()] * processes
    dealt = [devices[i % len(devices)] for i in range(processes)]
    return [Slot(device, 1 / dealt.count(device)) for device in dealt]


class Worker:
    """A process that calls one part after the other."""

    def __init__(self, slot: Slot) -> None:
        self.slot = slot
        self.part: int | None = None
        context = multiprocessing.get_context(
            "spawn"
        )  # no fork: CUDA and threads do not survive it
        self.connection, theirs = context.Pipe()
        # not daemonic: those may have no processes of their own, as a DataLoader needs
        self.process = context.Process(target=serve, args=(theirs,), daemon=False)
        with environment(slot.environment()):
            self.process.start()
        theirs.close()

    def begin(self, number: int, part: Callable[[], Any]) -> None:
        self.part = number
        with suppress(OSError):  # it has died, which `result` says
            self.connection.send_bytes(cloudpickle.dumps(part))

    def result(self) -> Any:
        """Raises LostPartError if the process has died."""
        try:
            return cloudpickle.loads(self.connection.recv_bytes())
        except (EOFError, OSError):
            self.process.join()
            code = self.process.exitcode or 0
            how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
            raise LostPartError(f"its process {self.process.pid} {how}") from None

    def end(self) -> None:
        """Waits for what it does; one that does not end is asked to, and then made to."""
        self.connection.close()
        for seconds, insist in zip(
            PATIENCE, (self.process.terminate, self.process.kill), strict=True
        ):
            self.process.join(seconds)
            if self.process.is_alive():
                insist()
        self.process.join()
        self.process.close()


def serve(connection: Connection) -> None:
    """What a worker does, until the connection is closed or nobody is at its other end."""
    with suppress(EOFError, OSError):
        while True:
            part = cloudpickle.loads(connection.recv_bytes())
            connection.send_bytes(cloudpickle.dumps(part()))


def run_in_processes(
    parts: Sequence[Callable[[], T]], slots: Sequence[Slot]
) -> Generator[tuple[int, T | LostPartError]]:
    """The outcomes of each part, by its number, as they come; parts begin in their order.

    A process that dies loses its part alone: another one takes its place.
    """
    waiting = list(enumerate(parts))
    workers = [Worker(slot) for slot in slots[: len(parts)]]
    try:
        for worker in workers:
            worker.begin(*waiting.pop(0))
        while busy := {each.connection: each for each in workers if each.part is not None}:
            for ready in wait(list(busy)):
                worker = busy[ready]  # type: ignore[index]
                number, worker.part = worker.part, None
                assert number is not None
                try:
                    result = worker.result()
                except LostPartError as error:
                    result = error
                    worker.end()
                    workers.remove(worker)
                    if waiting:
                        workers.append(worker := Worker(worker.slot))
                if waiting:
                    worker.begin(*waiting.pop(0))
                yield number, result
    finally:
        for worker in workers:
            worker.end()


@contextmanager
def environment(variables: Mapping[str, str]) -> Iterator[None]:
    """With these variables, which a process that is started now inherits."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})
