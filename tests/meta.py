"""A device that is not there: its tensors have shapes and no values."""

from collections import Counter
from contextlib import nullcontext
from typing import Any

import pytest
import torch
from lightning.pytorch.accelerators import Accelerator
from lightning.pytorch.strategies import SingleDeviceStrategy
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

META = torch.device("meta")
aten = torch.ops.aten


class MetaAccelerator(Accelerator):
    def setup_device(self, device: torch.device) -> None: ...

    def teardown(self) -> None: ...

    def get_device_stats(self, device: Any) -> dict[str, Any]:
        return {}

    @staticmethod
    def parse_devices(devices: Any) -> Any:
        return devices

    @staticmethod
    def get_parallel_devices(devices: Any) -> list[torch.device]:
        return [META]

    @staticmethod
    def auto_device_count() -> int:
        return 1

    @staticmethod
    def is_available() -> bool:
        return True

    @staticmethod
    def name() -> str:
        return "meta"


class MetaStrategy(SingleDeviceStrategy):
    def __init__(self) -> None:
        super().__init__(META, accelerator=MetaAccelerator())

    def teardown(self) -> None:
        """Leaves the module where it is: there is nothing to take to the CPU."""


class Copies(TorchDispatchMode):
    """Counts what would wait for the device, in this thread, and answers looks at it by zeros.

    A copy to the CPU and a look at a value are a `read`; a copy from the CPU that is not
    `non_blocking`, and a tensor made of plain numbers there, are an `upload`.

    Raises:
        AssertionError: for double precision on the device, which Apple's GPUs do not have.
    """

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        with self:  # in inference mode the parts of an operation are not dispatched by themselves
            decomposed = function.decompose(*args, **kwargs)
        if decomposed is not NotImplemented:
            return decomposed
        tensors = [each for each in args if isinstance(each, Tensor)]
        if any(is_there(each) for each in tensors):
            if function is aten._local_scalar_dense.default:
                self.counts["read"] += 1
                return torch.zeros((), dtype=args[0].dtype).item()
            if function is aten._to_copy.default and str(kwargs.get("device")) == "cpu":
                self.counts["read"] += 1
                return torch.zeros(args[0].shape, dtype=kwargs.get("dtype") or args[0].dtype)
        result = function(*args, **kwargs)
        results = result if isinstance(result, tuple | list) else [result]
        made = [each for each in results if isinstance(each, Tensor) and is_there(each)]
        if any(each.dtype in (torch.float64, torch.complex128) for each in made):
            raise AssertionError(f"double precision on the device: {function}")
        if function in (aten._to_copy.default, aten.copy_.default) and made:
            is_upload = any(each.device.type == "cpu" for each in tensors)
            self.counts["upload"] += is_upload and not kwargs.get("non_blocking", False)
        self.counts["upload"] += function is aten.lift_fresh.default and bool(made)
        return result


def is_there(tensor: Tensor) -> bool:
    return tensor.device.type == "meta"


def stack_on_meta(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leaves out what looks at values before a stack is computed, or beside it."""
    scheduler = "runlab.stacks.scheduler"
    # `torch.autocast` knows no meta
    monkeypatch.setattr(f"{scheduler}.precision_of", lambda request: nullcontext())
    monkeypatch.setattr(f"{scheduler}.check_equivalence", lambda requests: (None, False))
    monkeypatch.setattr(f"{scheduler}.preparation_key", lambda request: None)
    monkeypatch.setattr(f"{scheduler}.require_same", lambda *block: None)
