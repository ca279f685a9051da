"""Time a training step, beside a bare loop and Lightning's way."""

from omegaconf import DictConfig

import runlab.extras.benchmark.schema  # noqa: F401  registers the schema
from runlab.cli.loading import loading


def benchmark(cfg: DictConfig) -> None:
    with loading():
        from runlab.extras.benchmark.benchmark import benchmark

    benchmark(cfg)
