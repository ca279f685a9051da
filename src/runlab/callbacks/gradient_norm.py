from collections import defaultdict
from typing import Any

import lightning as L
import torch
from torch import Tensor
from torch.nn.utils import get_total_norm


class GradientNorm(L.Callback):
    """Logs 2-norms of gradients at the last step of a block; where clipped, of the clipped ones.

    `train/gradient_norm` is that of all gradients, for each block. `train_gradient_norm/<layer>` is
    that of a module's own parameters, weight and bias together, for each validation: the mean over
    the blocks since the one before.
    """

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
        layers: dict[str, list[Tensor]] = defaultdict(list)
        for name, parameter in pl_module.named_parameters():
            if parameter.grad is not None:
                layers[layer(name)].append(parameter.grad)
        norms = {name: get_total_norm(own) for name, own in layers.items()}
        for name, norm in norms.items():
            self.sums[name] = self.sums.get(name, 0) + norm
        self.blocks += 1
        total = torch.stack([*norms.values()]).norm()
        pl_module.log_deferred("train/gradient_norm", total)  # type: ignore[operator]

    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if trainer.state.fn == "fit" and not trainer.sanity_checking:
            for name, total in self.sums.items():
                mean = total / self.blocks
                pl_module.log(f"train_gradient_norm/{name}", mean, sync_dist=True)
            self.reset()


def layer(name: str) -> str:
    """The module that a parameter belongs to, as seen from the network: `layers.1`."""
    return name.rpartition(".")[0].removeprefix("network.") or name
