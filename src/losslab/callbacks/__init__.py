"""Callbacks of one's own; each is on or off by one override: `~callback.output_gradient`."""

from losslab.callbacks.output_gradient import OutputGradient as OutputGradient
