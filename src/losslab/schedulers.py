"""Learning-rate schedules over a run's optimizer steps: torch's own, under one signature."""

from torch.optim import Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, OneCycleLR

from runlab import configurable


@configurable
def cosine(optimizer: Optimizer, total_steps: int) -> CosineAnnealingLR:
    """From the optimizer's learning rate down to 0 along half a cosine."""
    return CosineAnnealingLR(optimizer, T_max=total_steps)


@configurable
def one_cycle(optimizer: Optimizer, total_steps: int, warmup: float = 0.3) -> OneCycleLR:
    """Up to the optimizer's learning rate over the `warmup` share of the steps, then down to ~0."""
    peaks = [group["lr"] for group in optimizer.param_groups]
    return OneCycleLR(
        optimizer, max_lr=peaks, total_steps=total_steps, pct_start=warmup, cycle_momentum=False
    )
