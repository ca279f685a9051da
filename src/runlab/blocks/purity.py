"""What a step's functions must leave alone, watched by the counts that PyTorch keeps of changes."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor
from torch._C._functorch import is_functorch_wrapped_tensor
from torch.utils._pytree import tree_leaves


@contextmanager
def leaves_unchanged(function: str, **nests: Any) -> Iterator[None]:
    """Raises ValueError if a tensor in one of these nests is changed in place inside.

    Not where PyTorch keeps no count: in inference mode, and under `torch.vmap`.
    """
    before = {name: versions(nest) for name, nest in nests.items()}
    yield
    for name, nest in nests.items():
        if versions(nest) != before[name]:
            raise ValueError(
                f"expected {function} to leave its {name} as it is, got a change in place: make "
                "another tensor, such as x + y in place of x.add_(y)"
            )


def versions(nest: Any) -> list:  # one of ints; a type checker would look at one drawn at random
    tensors = (each for each in tree_leaves(nest) if isinstance(each, Tensor))
    return [
        each._version
        for each in tensors
        if not each.is_inference() and not is_functorch_wrapped_tensor(each)
    ]
