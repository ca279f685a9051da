"""How long a training step takes, beside a bare loop, other Lightning code and the arithmetic."""

from runlab.extras.benchmark.task import benchmark as benchmark
