"""What happens beside training; each is on or off by one override: `~callback.gradient_norm`."""

from runlab.callbacks.curves import Curves as Curves
from runlab.callbacks.monitors import GradientNorm as GradientNorm
from runlab.callbacks.monitors import StopOnDivergence as StopOnDivergence
from runlab.callbacks.monitors import Throughput as Throughput
from runlab.callbacks.progress import Progress as Progress
from runlab.callbacks.tensorboard import Graph as Graph
from runlab.callbacks.tensorboard import Histograms as Histograms
