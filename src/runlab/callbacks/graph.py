import warnings
from typing import Any

import lightning as L
import torch

from runlab.callbacks.pictures import tensorboards


class Graph(L.Callback):
    """The network's graph, for TensorBoard alone: once a run, at its first validation.

    It is what `torch.jit.trace` sees of one validation image on its way through.
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
        for writer in tensorboards(trainer):
            with (
                torch.inference_mode(False),
                torch.no_grad(),
                warnings.catch_warnings(),
            ):
                # `add_graph` has no other tracer, and what is traced is looked at, never run
                warnings.filterwarnings("ignore", r"`torch\.jit\.trace", FutureWarning)
                warnings.simplefilter("ignore", torch.jit.TracerWarning)
                writer.add_graph(pl_module.network, batch[0][:1].clone())
