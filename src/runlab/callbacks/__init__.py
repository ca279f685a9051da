"""What happens beside training; each is on or off by one override: `~callback.gradient_norm`."""

from runlab.callbacks.curves import Curves as Curves
from runlab.callbacks.gradient_norm import GradientNorm as GradientNorm
from runlab.callbacks.graph import Graph as Graph
from runlab.callbacks.histograms import Histograms as Histograms
from runlab.callbacks.progress import Progress as Progress
from runlab.callbacks.stop_on_divergence import StopOnDivergence as StopOnDivergence
from runlab.callbacks.throughput import Throughput as Throughput
