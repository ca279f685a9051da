"""The losses of one network on fixed images, at any weights."""

import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

import torch
from jaxtyping import Float, Float32, Float64, Int
from torch import Tensor, nn
from torch.func import functional_call, vmap

log = logging.getLogger(__name__)

MEMORY = 300e6
"""Bytes for the weights and activations of what is computed at once."""


class Probe:
    """A network as a function of its weights, on fixed images, in single precision.

    The network evaluates: no dropout, and normalisation by running statistics where it keeps any.
    Such statistics are no weights, so a point of weight space does not determine them; they are
    everywhere those of the network as given, at the end of its run.
    """

    def __init__(
        self,
        network: nn.Module,
        images: Float[Tensor, "images ..."],
        labels: Int[Tensor, " images"],
        device: torch.device | None = None,
    ) -> None:
        device = device or torch.device("cpu")
        self.network = network.float().to(device).eval()
        self.images, self.labels, self.device = images.float().to(device), labels.to(device), device
        self.shapes = {name: p.shape for name, p in self.network.named_parameters()}
        self.sizes = [shape.numel() for shape in self.shapes.values()]
        self.vmaps = True
        per_image = activations(self.network, self.images[:1])
        self.images_at_once = max(1, min(len(images), int(MEMORY / per_image)))
        per_point = per_image * self.images_at_once + 4 * sum(self.sizes)
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
            outputs = self.outputs(chunk.to(self.device))  # [points, images, classes]
            rows += [[float(loss(each, self.labels)) for loss in losses] for each in outputs]
        return torch.tensor(rows, dtype=torch.float64)

    def outputs(
        self, weights: Float32[Tensor, "points weights"]
    ) -> Float[Tensor, "points images classes"]:
        """All points in one computation; one after another if torch cannot do that."""
        parts = self.images.split(self.images_at_once)
        if self.vmaps:
            try:
                return torch.cat([vmap(self.call, (0, None))(weights, each) for each in parts], 1)
            except Exception as error:  # a mistake that vmap has no part in comes again below
                self.vmaps = False
                log.info(
                    "this network can't be computed at many points at once (%s): one after another",
                    (str(error) or type(error).__name__).splitlines()[0].partition(". ")[0],
                )
        return torch.stack([torch.cat([self.call(each, p) for p in parts]) for each in weights])

    def call(
        self, weights: Float[Tensor, " weights"], images: Float[Tensor, "images ..."]
    ) -> Float[Tensor, "images classes"]:
        pieces = zip(self.shapes.items(), weights.split(self.sizes), strict=True)
        parameters = {name: piece.view(shape) for (name, shape), piece in pieces}
        return functional_call(self.network, parameters, (images,)).float()

    def descent(
        self, weights: Float32[Tensor, " weights"], loss: nn.Module
    ) -> Float32[Tensor, " weights"]:
        """−gradient of the loss: first in the outputs, then through the network part by part."""
        weights = weights.to(self.device).detach()
        outputs = self.outputs(weights.unsqueeze(0))[0].detach().requires_grad_()
        (in_outputs,) = torch.autograd.grad(loss(outputs, self.labels), outputs)
        weights.requires_grad_()
        total = torch.zeros_like(weights)
        size = self.images_at_once
        for images, slope in zip(self.images.split(size), in_outputs.split(size), strict=True):
            (part,) = torch.autograd.grad(self.call(weights, images), weights, slope)
            total += part
        return -total.cpu()


@torch.no_grad()
def activations(network: nn.Module, image: Float[Tensor, "1 ..."]) -> float:
    """Bytes that the outputs of all layers take for one image."""
    counts: list[int] = []
    layers = [layer for layer in network.modules() if not list(layer.children())]
    hooks = [
        layer.register_forward_hook(lambda _, __, output: counts.append(output.numel()))
        for layer in layers
    ]
    try:
        counts.append(network(image).numel())
    finally:
        for hook in hooks:
            hook.remove()
    return 4.0 * (sum(counts) + image.numel())


@contextmanager
def all_cores() -> Iterator[None]:
    """Runs train on a fixed number of threads, since sums depend on it; no picture does."""
    threads = torch.get_num_threads()
    torch.set_num_threads(os.cpu_count() or 1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
