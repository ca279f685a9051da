"""The loss surfaces that two runs descended, on the plane through their start and their ends."""

from runlab.extras.landscape.caption import caption
from runlab.extras.landscape.files import write
from runlab.extras.landscape.landscape import landscape
from runlab.extras.landscape.result import Landscape

__all__ = ["Landscape", "caption", "landscape", "write"]
