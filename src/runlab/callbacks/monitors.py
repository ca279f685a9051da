"""What is watched while a run trains: the size of gradients, speed, and whether it diverged."""

import time
from collections import defaultdict
from typing import Any

import lightning as L
import torch
from torch import Tensor
from torch.nn.utils import get_total_norm

from runlab.blocks.block import samples_in
from runlab.module import Module


class GradientNorm(L.Callback):
    """Logs 2-norms of gradients at the last step of a block; where clipped, of the clipped ones.

    `train/gradient_norm` is that of all gradients, for each block. `train_gradient_norm/<layer>` is
    that of a module's own parameters, weight and bias together, for each validation: the mean over
    the blocks since the one before.
    """

    blocks_suffice = True

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        if stage == "fit":
            self.reset()

    def reset(self) -> None:
        self.sums: dict[str, Tensor | float] = {}
        self.blocks = 0

    def state_dict(self) -> dict[str, Any]:
        sums = {name: float(total) for name, total in self.sums.items()}
        return {"sums": sums, "blocks": self.blocks}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.sums, self.blocks = dict(state_dict["sums"]), state_dict["blocks"]

    def on_train_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        gradients: dict[str, list[Tensor]] = defaultdict(list)
        for name, parameter in pl_module.named_parameters():
            if parameter.grad is not None:
                gradients[layer_of(name)].append(parameter.grad)
        norms = {layer: get_total_norm(own) for layer, own in gradients.items()}
        for layer, norm in norms.items():
            self.sums[layer] = self.sums.get(layer, 0) + norm
        self.blocks += 1
        total = torch.stack([*norms.values()]).norm()
        log = pl_module.log_deferred if isinstance(pl_module, Module) else pl_module.log
        log("train/gradient_norm", total)

    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if trainer.state.fn == "fit" and not trainer.sanity_checking:
            for layer, total in self.sums.items():
                mean = total / self.blocks
                pl_module.log(f"train_gradient_norm/{layer}", mean, sync_dist=True)
            self.reset()


def layer_of(parameter: str) -> str:
    """The module that a parameter belongs to, as seen from the network: `layers.1`."""
    return parameter.rpartition(".")[0].removeprefix("network.") or parameter


class Throughput(L.Callback):
    """Logs `timing/samples_per_second`: an epoch's training samples; validation is not timed."""

    blocks_suffice = True

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.reset()  # a run that goes on within an epoch does not start that epoch

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.reset()

    def reset(self) -> None:
        self.samples, self.seconds = 0, 0.0
        self.started = time.perf_counter()

    def on_train_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        self.samples += samples_in(batch) * trainer.world_size

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if trainer.state.fn == "fit" and not trainer.sanity_checking:
            self.stop(pl_module.device)

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.started = time.perf_counter()

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.stop(pl_module.device)
        pl_module.log("timing/samples_per_second", self.samples / self.seconds, sync_dist=True)

    def stop(self, device: torch.device) -> None:
        """Adds the seconds since the start, once the device has done what it was given."""
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        self.seconds += time.perf_counter() - self.started


class StopOnDivergence(L.Callback):
    """Stops a run once a metric `train/*` or `val/*` is no longer finite: it has diverged.

    A run that guesses trains on: it may have yet to begin to learn, or come back. Whether it
    collapsed is decided at its end.

    It looks at them with each validation, as every look at a GPU waits for it. By then the training
    loss is a mean over the blocks since the validation before: one that was not finite suffices.
    """

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        metrics = trainer.callback_metrics.items()
        own = [value.float().cpu() for key, value in metrics if key.startswith(("train/", "val/"))]
        if own and not torch.stack(own).isfinite().all():
            trainer.should_stop = True
