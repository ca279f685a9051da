"""The loss surfaces that two runs descended, on the plane through their start and their ends."""

from losslab.landscape.caption import caption
from losslab.landscape.files import write
from losslab.landscape.landscape import landscape
from losslab.landscape.result import Landscape

__all__ = ["Landscape", "caption", "landscape", "write"]
