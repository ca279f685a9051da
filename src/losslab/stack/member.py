from collections.abc import Callable, Iterable
from typing import NamedTuple

from torch import Tensor, nn
from torch.optim import Optimizer


class Member(NamedTuple):
    """What of a run a stack has to know.

    Attributes:
        make: makes another optimizer of the same class and settings.
        clip: largest norm of its whole gradient.
    """

    network: nn.Module
    loss: nn.Module
    optimizer: Optimizer
    make: Callable[[Iterable[nn.Parameter]], Optimizer]
    clip: float | None

    @property
    def trained(self) -> dict[str, nn.Parameter]:
        """The parameters that training changes, by name."""
        return {name: p for name, p in self.network.named_parameters() if p.requires_grad}

    @property
    def fixed(self) -> dict[str, Tensor]:
        """Buffers and frozen parameters, by name."""
        frozen = {name: p for name, p in self.network.named_parameters() if not p.requires_grad}
        return frozen | dict(self.network.named_buffers())
