"""What TensorBoard alone can show of a network: its graph, and histograms of its parameters."""

import copy
import warnings
from typing import Any

import lightning as L
import torch
from torch import Tensor

from runlab.callbacks.pictures import should_draw, summary_writers

MAX_MAGNITUDE = 1e19
"""Where the scale of TensorBoard's histograms ends."""


class Graph(L.Callback):
    """The network's graph, for TensorBoard alone: once a run, at its first validation.

    It is what `torch.jit.trace` sees of one validation sample on its way through the network.
    """

    def __init__(self) -> None:
        self.written = False

    def state_dict(self) -> dict[str, Any]:
        return {"written": self.written}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.written = state_dict["written"]

    def on_validation_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        if self.written or trainer.state.fn != "fit" or trainer.sanity_checking:
            return
        self.written = True
        for writer in summary_writers(trainer):
            with (
                torch.inference_mode(False),
                torch.no_grad(),
                warnings.catch_warnings(),
            ):
                # `add_graph` has no other tracer, and what is traced is looked at, never run
                warnings.filterwarnings("ignore", r"`torch\.jit\.trace", FutureWarning)
                warnings.simplefilter("ignore", torch.jit.TracerWarning)
                # on the CPU, as the tracer compares in double precision, which not all devices have
                network: Any = copy.deepcopy(pl_module.network)
                writer.add_graph(network.cpu(), batch[0][:1].clone().cpu())


class Histograms(L.Callback):
    """Each parameter's values and gradients: `weights/<parameter>`, `gradients/<parameter>`.

    Gradients are those of the last step. Values that are not finite, or beyond ±1e19, where
    TensorBoard's scale ends, are left out. A tensor without any other value has no histogram. They
    are taken after at most ten validations, among them the last one of a run that ends as planned.
    """

    blocks_suffice = True

    def on_train_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        # Lightning drops gradients before a validation
        named = pl_module.named_parameters()
        self.gradients = {name: p.grad for name, p in named if p.grad is not None}

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if should_draw(trainer):
            self.add_histograms(trainer, "weights", dict(pl_module.named_parameters()))
            self.add_histograms(trainer, "gradients", self.gradients)

    def add_histograms(self, trainer: L.Trainer, prefix: str, tensors: dict[str, Any]) -> None:
        for writer in summary_writers(trainer):
            for name, tensor in tensors.items():
                whole: Tensor = tensor.detach().cpu()
                values = whole[whole.abs() <= MAX_MAGNITUDE].double()
                if len(values) > 0:
                    tag = f"{prefix}/{name.removeprefix('network.')}"
                    writer.add_histogram(tag, values, trainer.global_step)
