"""Nest: nested containers of tensors, such as a batch, taken apart into their tensors."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from torch import Tensor
from torch.utils._pytree import TreeSpec, tree_flatten, tree_unflatten


class Form(NamedTuple):
    """What a nest is besides its tensors.

    Attributes:
        is_tensor: of each leaf; any other leaf is None.
    """

    spec: TreeSpec
    is_tensor: tuple[bool, ...]

    def fill(self, tensors: Iterable[Tensor]) -> Any:
        """A nest of this form, with these tensors."""
        rest = iter(tensors)
        return tree_unflatten([next(rest) if each else None for each in self.is_tensor], self.spec)

    @property
    def key(self) -> tuple[str, tuple[bool, ...]]:
        """Equal for equal forms."""
        return repr(self.spec), self.is_tensor


class Nest(NamedTuple):
    """A nest, taken apart."""

    tensors: Sequence[Tensor]
    form: Form

    def replace(self, tensors: Sequence[Tensor]) -> "Nest":
        return Nest(tensors, self.form)

    @property
    def value(self) -> Any:
        return self.form.fill(self.tensors)


def take_apart(value: Any, what: str) -> Nest:
    """Raises ValueError, which names `what` it is, for a leaf that is neither tensor nor None."""
    leaves, spec = tree_flatten(value)
    for leaf in leaves:
        if not (leaf is None or isinstance(leaf, Tensor)):
            raise ValueError(
                f"{what} holds a {type(leaf).__name__}, and a stack takes nothing but tensors "
                "(torch.tensor makes one of a number)"
            )
    is_tensor = tuple(isinstance(leaf, Tensor) for leaf in leaves)
    return Nest([leaf for leaf in leaves if isinstance(leaf, Tensor)], Form(spec, is_tensor))
