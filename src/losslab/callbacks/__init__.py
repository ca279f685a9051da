"""What happens beside training; each is on or off by one override: `~callback.gradient_norm`."""

from losslab.callbacks.confusion import Confusion as Confusion
from losslab.callbacks.curves import Curves as Curves
from losslab.callbacks.digits import Digits as Digits
from losslab.callbacks.divergence import Divergence as Divergence
from losslab.callbacks.first_layer import FirstLayer as FirstLayer
from losslab.callbacks.gradient_norm import GradientNorm as GradientNorm
from losslab.callbacks.graph import Graph as Graph
from losslab.callbacks.histograms import Histograms as Histograms
from losslab.callbacks.output_gradient import OutputGradient as OutputGradient
from losslab.callbacks.pr_curves import PRCurves as PRCurves
from losslab.callbacks.predictions import Predictions as Predictions
from losslab.callbacks.progress import Progress as Progress
from losslab.callbacks.projector import Projector as Projector
from losslab.callbacks.throughput import Throughput as Throughput
