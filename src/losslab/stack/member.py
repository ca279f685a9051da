import re
from collections.abc import Callable, Iterable
from typing import NamedTuple

from torch import Tensor, nn
from torch.optim import Optimizer

OF_EVERY_MODULE = set(vars(nn.Module())) - {"training"}


class Member(NamedTuple):
    """What of a run a stack has to know.

    Attributes:
        prepared: turns images into the network's input.
        make: makes another optimizer of the same class and settings.
        clip: largest norm of its whole gradient.
    """

    prepared: Callable[[Tensor], Tensor]
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

    @property
    def settings(self) -> str:
        """What modules hold besides tensors and other modules: rates, sizes, modes."""
        modules = [*self.network.modules(), *self.loss.modules()]
        held = [
            {key: value for key, value in vars(module).items() if key not in OF_EVERY_MODULE}
            for module in modules
        ]
        return re.sub(" at 0x[0-9a-f]+", "", repr(held))  # where a function lies is no matter
