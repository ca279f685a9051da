"""What a training step cannot be faster than: its arithmetic and bytes at the machine's rates."""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from copy import deepcopy

import torch
from jaxtyping import Num
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.flop_counter import FlopCounterMode

from runlab.extras.benchmark.timing import clock
from runlab.module import OptimizerFactory
from runlab.text import plural


def step_flops(
    network: nn.Module,
    loss: nn.Module,
    inputs: Num[Tensor, "batch ..."],
    targets: Num[Tensor, "batch ..."],
) -> int:
    """Floating-point operations of a step's matrix products and convolutions, both ways.

    A multiplication with its addition is two. For a network of matrix products that is 6 × weights
    × batch, less 2 × first layer's weights × batch: the inputs need no gradient.
    """
    network = deepcopy(network)
    with FlopCounterMode(display=False) as counter:
        loss(network(inputs), targets).backward()
    return counter.get_total_flops()


def step_bytes(
    network: nn.Module,
    loss: nn.Module,
    optimizer: OptimizerFactory,
    inputs: Num[Tensor, "batch ..."],
    targets: Num[Tensor, "batch ..."],
) -> int:
    """Bytes of a step's parameters, gradients and inputs, each read or written from memory anew.

    Forward reads parameters and inputs. Backward reads those of them that autograd kept (of a
    network of matrix products neither the first layer's weights nor any biases) and writes the
    gradients. The update reads these, writes the parameters, and reads and writes the optimizer's
    state. Targets and what the network computes in between are left out: they can stay in a cache.

    For a network of matrix products with SGD, of which w weights are not the first layer's, that is
    itemsize × (4 × parameters + w + 2 × batch × values of an input).
    """
    network = deepcopy(network)
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    step = optimizer(each for each in network.named_parameters() if each[1].requires_grad)
    kept: set[int] = set()

    def keep(tensor: Tensor) -> Tensor:
        kept.add(tensor.untyped_storage().data_ptr())  # a view of it is enough
        return tensor

    with saved_tensors_hooks(keep, lambda tensor: tensor):
        loss(network(inputs), targets).backward()
    step.step()
    forward = [*network.parameters(), inputs]
    backward = [each for each in forward if each.untyped_storage().data_ptr() in kept]
    states = [value for state in step.state.values() for value in state.values()]
    state = [value for value in states if isinstance(value, Tensor)]
    return sum(each.nbytes for each in [*forward, *backward, *3 * trained, *2 * state])


class Workload(ABC):
    """Something of which the machine does `amount` at a time, as fast as it can.

    Attributes:
        amount: floating-point operations, or bytes.
    """

    amount: int

    def __init__(self, device: torch.device) -> None:
        self.device = device

    @abstractmethod
    def run_once(self) -> None: ...

    def per_second(self, threads: int | None = None, attempts: int = 10) -> float:
        """The best of several attempts, on so many threads: by default as many as torch uses."""
        before = torch.get_num_threads()
        torch.set_num_threads(threads or before)
        try:
            return self.amount / min(self._seconds() for _ in range(attempts))
        finally:
            torch.set_num_threads(before)

    def _seconds(self) -> float:
        started = clock(self.device)
        self.run_once()
        return clock(self.device) - started


class Matmul(Workload):
    """A large square matrix product."""

    def __init__(self, device: torch.device, dtype: torch.dtype, size: int | None = None) -> None:
        super().__init__(device)
        size = size or (1024 if device.type == "cpu" else 8192)
        self.amount = 2 * size**3
        self.left, self.right = (torch.rand(size, size, device=device, dtype=dtype) for _ in "lr")
        self.product = torch.empty_like(self.left)

    def run_once(self) -> None:
        torch.mm(self.left, self.right, out=self.product)


class Copy(Workload):
    """So many bytes from one place in memory to another, each read and written; caches hold few."""

    def __init__(self, device: torch.device, size: int = 2**28) -> None:
        super().__init__(device)
        self.amount = 2 * size
        # written: pages that never were may all be one
        self.source = torch.ones(size, device=device, dtype=torch.uint8)
        self.target = torch.zeros_like(self.source)

    def run_once(self) -> None:
        self.target.copy_(self.source)


class PeakRates:
    """What the machine does at best, by `resource`: threads of the CPU, or another device.

    Attributes:
        flops: floating-point operations a second of a large matrix product.
        copied: bytes a second, read and written, of a large copy.
    """

    def __init__(self, device: torch.device, dtype: torch.dtype, threads: Iterable[int]) -> None:
        self.threads = {resource(device, number): number for number in sorted(threads)}
        self.matmul, self.copy = Matmul(device, dtype), Copy(device)
        self.flops = dict.fromkeys(self.threads, 0.0)
        self.copied = dict.fromkeys(self.threads, 0.0)

    def measure(self) -> None:
        """Keeps the better of what it finds and what it knows, also from fewer threads."""
        flops = copied = 0.0
        for name, threads in self.threads.items():
            flops = max(flops, self.matmul.per_second(threads))
            copied = max(copied, self.copy.per_second(threads))
            self.flops[name] = max(self.flops[name], flops)
            self.copied[name] = max(self.copied[name], copied)


def resource(device: torch.device, threads: int) -> str:
    """What a step is computed by, in words: `2 threads`, or a device such as `cuda:0`."""
    return plural(threads, "thread") if device.type == "cpu" else str(device)
