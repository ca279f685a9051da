"""Which loss and which learning rate train the better classifier, and how sure are we?"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from runlab import program

if TYPE_CHECKING:
    from losslab.classifier import Classifier as Classifier
    from losslab.regressor import Regressor as Regressor

_HOMES = {"Classifier": "losslab.classifier", "Regressor": "losslab.regressor"}
"""Imported when asked for: torch takes seconds, and not every command needs it."""


program.declare("losslab")


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module losslab has no attribute {name}")
    return getattr(import_module(_HOMES[name]), name)
