"""What happens beside training; each is on or off by one override: `~callback.gradient_norm`."""

from losslab.callbacks.curves import Curves as Curves
from losslab.callbacks.divergence import Divergence as Divergence
from losslab.callbacks.gradient_norm import GradientNorm as GradientNorm
from losslab.callbacks.output_gradient import OutputGradient as OutputGradient
from losslab.callbacks.predictions import Predictions as Predictions
from losslab.callbacks.progress import Progress as Progress
from losslab.callbacks.throughput import Throughput as Throughput
