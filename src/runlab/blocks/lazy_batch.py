"""Inputs of a block that lie in a data set, and nowhere else until they are looked at."""

from functools import cached_property
from typing import Any

import torch
from jaxtyping import Int64, Num
from torch import Tensor
from torch.utils._pytree import tree_map_only


class LazyBatch(Tensor):
    """`source[indices]`, [steps, batch, ...], materialized when something is first done with it.

    From then on it is what was materialized, so what is written into it stays.

    Attributes:
        source: all inputs of a data set, [samples, ...].
        indices: of the block's samples, [steps, batch].
    """

    source: Tensor
    indices: Tensor  # type: ignore[assignment]  # torch has a method of sparse tensors of this name

    @staticmethod
    def __new__(
        cls, source: Num[Tensor, "samples ..."], indices: Int64[Tensor, "steps batch"]
    ) -> "LazyBatch":
        shape = *indices.shape, *source.shape[1:]
        make: Any = Tensor._make_wrapper_subclass
        batch: LazyBatch = make(cls, shape, dtype=source.dtype, device=source.device)
        batch.source, batch.indices = source, indices
        return batch

    @cached_property
    def materialized(self) -> Num[Tensor, "steps batch ..."]:
        # index_select copies whole samples: 20 times faster on CPU than `source[indices]`
        return self.source.index_select(0, self.indices.flatten()).unflatten(0, self.indices.shape)

    @property
    def is_materialized(self) -> bool:
        return "materialized" in vars(self)

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        batch = args[0] if args else None
        is_lazy = isinstance(batch, LazyBatch) and not batch.is_materialized
        if is_lazy and func in METADATA_FUNCTIONS:
            with torch._C.DisableTorchFunctionSubclass():
                return func(*args, **(kwargs or {}))
        return cls.__torch_dispatch__(func, types, args, kwargs)

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        args, kwargs = tree_map_only(
            LazyBatch, lambda batch: batch.materialized, (args, kwargs or {})
        )
        return func(*args, **kwargs)


METADATA_FUNCTIONS = {
    *(getattr(Tensor, name).__get__ for name in ("shape", "dtype", "device", "ndim", "layout")),
    *(getattr(Tensor, name).__get__ for name in ("is_cuda", "requires_grad")),
    *(Tensor.__len__, Tensor.size, Tensor.dim, Tensor.numel, Tensor.is_floating_point),
    Tensor.to,  # to the device where it is; anywhere else it is dispatched
}
"""What a tensor is asked that has nothing to do with its values."""


def step_of(batches: Num[Tensor, "steps batch ..."], step: int) -> Num[Tensor, "batch ..."]:
    """`batches[step]`; of a `LazyBatch` that is not materialized, that step's alone."""
    if isinstance(batches, LazyBatch) and not batches.is_materialized:
        return batches.source.index_select(0, batches.indices[step])
    return batches[step]


def memory_of(tensor: Tensor) -> tuple[Any, ...]:
    """Where its values lie in memory; equal for two views of the same values."""
    return tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype
