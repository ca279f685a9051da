"""What a training step cannot be faster than."""

import time
from copy import deepcopy

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode


def step_flops(
    network: nn.Module,
    loss: nn.Module,
    images: Float[Tensor, "batch channels height width"],
    labels: Int[Tensor, " batch"],
) -> int:
    """Floating-point operations of a step's matrix products and convolutions, both ways.

    A multiplication with its addition is two. For a network of matrix products that is 6 × weights
    × batch, less 2 × first layer's weights × batch: the images need no gradient.
    """
    network = deepcopy(network)
    with FlopCounterMode(display=False) as counter:
        loss(network(images), labels).backward()
    return counter.get_total_flops()


def clock(device: torch.device) -> float:
    """Seconds, read when the device has done all that it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
    return time.perf_counter()


class Matmul:
    """The largest rate of arithmetic that the machine gives to a large square matrix product.

    On so many threads, by default as many as torch uses.
    """

    def __init__(
        self,
        device: torch.device,
        dtype: torch.dtype,
        size: int | None = None,
        threads: int | None = None,
    ) -> None:
        self.size = size or (1024 if device.type == "cpu" else 8192)
        self.threads = threads or torch.get_num_threads()
        self.device = device
        shape = (self.size, self.size)
        self.left, self.right = (torch.rand(shape, device=device, dtype=dtype) for _ in range(2))
        self.product = torch.empty_like(self.left)

    def flops_per_second(self, attempts: int = 10) -> float:
        """The best of several attempts."""
        before = torch.get_num_threads()
        torch.set_num_threads(self.threads)
        try:
            return 2 * self.size**3 / min(self._seconds() for _ in range(attempts))
        finally:
            torch.set_num_threads(before)

    def _seconds(self) -> float:
        started = clock(self.device)
        torch.mm(self.left, self.right, out=self.product)
        return clock(self.device) - started
