import re
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

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
        """`network.*`: its buffers and frozen parameters; `loss.*`: all of the loss's tensors."""
        frozen = {name: p for name, p in self.network.named_parameters() if not p.requires_grad}
        of_network = frozen | dict(self.network.named_buffers())
        of_loss = dict(self.loss.named_parameters()) | dict(self.loss.named_buffers())
        return {
            f"{part}.{name}": tensor
            for part, tensors in (("network", of_network), ("loss", of_loss))
            for name, tensor in tensors.items()
        }

    @property
    def settings(self) -> str:
        """What modules are, and hold besides parameters and buffers: rates, sizes, modes."""
        held = [
            (name, type(module), {key: plain(value) for key, value in own(module).items()})
            for part in (self.network, self.loss)
            for name, module in part.named_modules()
        ]
        return without_addresses(repr(held))


def own(module: nn.Module) -> dict[str, Any]:
    """A module's attributes, but for what every module has."""
    return {key: value for key, value in vars(module).items() if key not in OF_EVERY_MODULE}


def plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, Tensor) else value  # which would be shortened


def without_addresses(text: str) -> str:
    """A `repr` that does not tell where in memory an object lies."""
    return re.sub(" at 0x[0-9a-fA-F]+", "", text)
