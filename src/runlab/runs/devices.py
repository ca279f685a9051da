"""Which devices a Trainer may be told to use: those that this machine has."""

from collections.abc import Mapping
from typing import Any

from lightning.pytorch.accelerators import AcceleratorRegistry

from runlab.config.kinds import is_whole, shown
from runlab.config.messages import DEVICES

NAMES = {"auto": ("cuda", "mps", "tpu", "cpu"), "gpu": ("cuda", "mps")}
"""Of accelerators that stand for the first of several that is there."""


def check_devices(trainer: Mapping[str, Any]) -> None:
    """Raises ValueError unless the flags accelerator and devices name what is there."""
    accelerator = trainer.get("accelerator", "auto")
    if isinstance(accelerator, Mapping):
        return  # a user's own class
    names = sorted({*NAMES, *AcceleratorRegistry.available_accelerators()})
    there = [each for each in names if kind_of(each) is not None]
    if accelerator not in there:
        lacks = ", which this machine lacks" * (accelerator in names)
        raise ValueError(
            f"expected trainer.accelerator to be one of {', '.join(there)} here, got "
            f"{shown(accelerator)}{lacks}: {DEVICES}"
        )
    check_number(trainer.get("devices", "auto"), kind_of(accelerator))


def kind_of(name: str) -> Any:
    """Lightning's class for the accelerator; None if this machine has none."""
    kinds = [AcceleratorRegistry[each]["accelerator"] for each in NAMES.get(name, (name,))]
    return next((each for each in kinds if each.is_available()), None)


def check_number(devices: Any, kind: Any) -> None:
    """Raises ValueError for a number of devices, or a list of them, that there is not."""
    if devices == "auto":
        return
    is_cpu = kind.name() == "cpu"
    count = 0 if is_cpu else int(kind.auto_device_count())
    if isinstance(devices, str):
        devices = parsed(devices)
    if isinstance(devices, list | tuple) and not is_cpu:
        known = [each for each in devices if is_whole(each) and 0 <= each < count]
        if devices and len(known) == len(devices) == len(set(known)):
            return
    elif is_whole(devices) and (devices >= 1 if is_cpu else devices == -1 or 1 <= devices <= count):
        return
    several = f"1 to {count}, -1 for all, a list of numbers below {count}, or auto"
    expected = "a whole number of at least 1 on the CPU, or auto" if is_cpu else several
    raise ValueError(f"expected trainer.devices to be {expected}, got {shown(devices)}")


def parsed(text: str) -> Any:
    """A number, or numbers with commas, as Lightning reads them; any other text as it is."""
    try:
        numbers = [int(each) for each in text.split(",") if each.strip()]
    except ValueError:
        return text
    return numbers if "," in text else numbers[0]
