"""Images of a block that lie in a data set, and nowhere else until they are looked at."""

from functools import cached_property
from typing import Any

import torch
from jaxtyping import Int64, Num
from torch import Tensor
from torch.utils._pytree import tree_map_only


class Rows(Tensor):
    """`source[chosen]`, [steps, batch, ...], gathered when something is first done with it.

    From then on it is what was gathered, so what is written into it stays.

    Attributes:
        source: all images of a data set.
    """

    source: Tensor
    chosen: Tensor

    @staticmethod
    def __new__(
        cls, source: Num[Tensor, "images ..."], chosen: Int64[Tensor, "steps batch"]
    ) -> "Rows":
        shape = *chosen.shape, *source.shape[1:]
        make: Any = Tensor._make_wrapper_subclass
        rows: Rows = make(cls, shape, dtype=source.dtype, device=source.device)
        rows.source, rows.chosen = source, chosen
        return rows

    @cached_property
    def gathered(self) -> Num[Tensor, "steps batch ..."]:
        # index_select copies whole images: 20 times faster on CPU than `source[chosen]`
        return self.source.index_select(0, self.chosen.flatten()).unflatten(0, self.chosen.shape)

    @property
    def is_gathered(self) -> bool:
        return "gathered" in vars(self)

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        rows = args[0] if args else None
        if func in TOLD_BY_ITSELF and isinstance(rows, Rows) and not rows.is_gathered:
            with torch._C.DisableTorchFunctionSubclass():
                return func(*args, **(kwargs or {}))
        return cls.__torch_dispatch__(func, types, args, kwargs)

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        args, kwargs = tree_map_only(Rows, lambda rows: rows.gathered, (args, kwargs or {}))
        return func(*args, **kwargs)


TOLD_BY_ITSELF = {
    *(getattr(Tensor, name).__get__ for name in ("shape", "dtype", "device", "ndim", "layout")),
    *(getattr(Tensor, name).__get__ for name in ("is_cuda", "requires_grad")),
    *(Tensor.__len__, Tensor.size, Tensor.dim, Tensor.numel, Tensor.is_floating_point),
    Tensor.to,  # to the device where it is; anywhere else it is dispatched
}
"""What a tensor is asked that has nothing to do with its values."""


def at(images: Num[Tensor, "steps batch ..."], step: int) -> Num[Tensor, "batch ..."]:
    """`images[step]`; of `Rows` which are not gathered, that step's alone."""
    if isinstance(images, Rows) and not images.is_gathered:
        return images.source.index_select(0, images.chosen[step])
    return images[step]
