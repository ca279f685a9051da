from collections.abc import Iterable

import torch

from runlab.extras.benchmark.arithmetic import Copy, Matmul
from runlab.text import plural


class Machine:
    """What the machine does at best, by place: on so many threads of the CPU, or on another device.

    Attributes:
        flops: floating-point operations a second of a large matrix product.
        copied: bytes a second, read and written, of a large copy.
    """

    def __init__(self, device: torch.device, dtype: torch.dtype, threads: Iterable[int]) -> None:
        self.threads = {place(device, number): number for number in sorted(threads)}
        self.matmul, self.copy = Matmul(device, dtype), Copy(device)
        self.flops = dict.fromkeys(self.threads, 0.0)
        self.copied = dict.fromkeys(self.threads, 0.0)

    def measure(self) -> None:
        """Keeps the better of what it finds and what it knows, also from fewer threads."""
        flops = copied = 0.0
        for where, threads in self.threads.items():
            flops = max(flops, self.matmul.per_second(threads))
            copied = max(copied, self.copy.per_second(threads))
            self.flops[where] = max(self.flops[where], flops)
            self.copied[where] = max(self.copied[where], copied)


def place(device: torch.device, threads: int) -> str:
    return plural(threads, "thread") if device.type == "cpu" else str(device)
