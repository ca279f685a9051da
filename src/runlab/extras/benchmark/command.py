"""Time a training step, beside a bare loop and Lightning's way."""

from omegaconf import DictConfig

from runlab.cli.loading import loading


def benchmark(cfg: DictConfig) -> None:
    with loading():
        from runlab.extras.benchmark.benchmark import benchmark

    benchmark(cfg)
