"""The losses of one network on fixed samples, as functions of its weights."""

import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

import torch
from jaxtyping import Float, Float32, Float64, Num
from torch import Tensor, nn
from torch.func import functional_call, vmap

log = logging.getLogger(__name__)

MEMORY = 300e6
"""Bytes for the weights and activations of what is computed at once."""


class LossSurface:
    """A network as a function of its weights, on fixed samples, in single precision.

    The network evaluates: no dropout, and normalisation by running statistics where it keeps any.
    Such statistics are no weights, so a point of weight space does not determine them; they are
    everywhere those of the network as given, at the end of its run.
    """

    def __init__(
        self,
        network: nn.Module,
        inputs: Float[Tensor, "samples ..."],
        targets: Num[Tensor, "samples ..."],
        device: torch.device | None = None,
    ) -> None:
        device = device or torch.device("cpu")
        self.network = network.float().to(device).eval()
        self.inputs = inputs.float().to(device)
        self.targets = targets.to(device)
        self.device = device
        self.shapes = {name: p.shape for name, p in self.network.named_parameters()}
        self.sizes = [shape.numel() for shape in self.shapes.values()]
        self.is_vmapped = True
        per_sample = activation_bytes(self.network, self.inputs[:1])
        self.samples_at_once = max(1, min(len(inputs), int(MEMORY / per_sample)))
        per_point = per_sample * self.samples_at_once + 4 * sum(self.sizes)
        self.points_at_once = max(1, int(MEMORY / per_point))

    @torch.no_grad()
    def losses(
        self,
        points: Iterable[Float32[Tensor, "_ weights"]],
        losses: Sequence[nn.Module],
    ) -> Float64[Tensor, "points losses"]:
        """Each loss at each point; `points` come in chunks of at most `points_at_once`."""
        rows = []
        for chunk in points:
            outputs = self.outputs(chunk.to(self.device))  # [points, samples, ...]
            rows += [[float(loss(each, self.targets)) for loss in losses] for each in outputs]
        return torch.tensor(rows, dtype=torch.float64)

    def outputs(
        self, weights: Float32[Tensor, "points weights"]
    ) -> Float[Tensor, "points samples ..."]:
        """All points in one computation; one after another if torch cannot do that."""
        parts = self.inputs.split(self.samples_at_once)
        if self.is_vmapped:
            try:
                return torch.cat([vmap(self.call, (0, None))(weights, each) for each in parts], 1)
            except Exception as error:  # a mistake that vmap has no part in comes again below
                self.is_vmapped = False
                log.info(
                    "this network can't be computed at many points at once (%s): one after another",
                    (str(error) or type(error).__name__).splitlines()[0].partition(". ")[0],
                )
        return torch.stack([torch.cat([self.call(each, p) for p in parts]) for each in weights])

    def call(
        self, weights: Float[Tensor, " weights"], inputs: Float[Tensor, "samples ..."]
    ) -> Float[Tensor, "samples ..."]:
        pieces = zip(self.shapes.items(), weights.split(self.sizes), strict=True)
        parameters = {name: piece.view(shape) for (name, shape), piece in pieces}
        return functional_call(self.network, parameters, (inputs,)).float()

    def negative_gradient(
        self, weights: Float32[Tensor, " weights"], loss: nn.Module
    ) -> Float32[Tensor, " weights"]:
        """−gradient of the loss: first in the outputs, then through the network part by part."""
        weights = weights.to(self.device).detach()
        outputs = self.outputs(weights.unsqueeze(0))[0].detach().requires_grad_()
        (output_gradient,) = torch.autograd.grad(loss(outputs, self.targets), outputs)
        weights.requires_grad_()
        total = torch.zeros_like(weights)
        size = self.samples_at_once
        parts = zip(self.inputs.split(size), output_gradient.split(size), strict=True)
        for inputs, gradient in parts:
            (part,) = torch.autograd.grad(self.call(weights, inputs), weights, gradient)
            total += part
        return -total.cpu()


@torch.no_grad()
def activation_bytes(network: nn.Module, sample: Float[Tensor, "1 ..."]) -> float:
    """Bytes that the outputs of all layers take for one sample."""
    counts: list[int] = []
    layers = [layer for layer in network.modules() if not list(layer.children())]
    hooks = [
        layer.register_forward_hook(lambda _, __, output: counts.append(output.numel()))
        for layer in layers
    ]
    try:
        counts.append(network(sample).numel())
    finally:
        for hook in hooks:
            hook.remove()
    return 4.0 * (sum(counts) + sample.numel())


@contextmanager
def all_cores() -> Iterator[None]:
    """Runs train on a fixed number of threads, since sums depend on it; a figure does not."""
    threads = torch.get_num_threads()
    torch.set_num_threads(os.cpu_count() or 1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
