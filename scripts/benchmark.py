"""Time a training step: by hand, losslab's, as templates do it, and the arithmetic alone."""

from losslab.benchmark import benchmark
from losslab.command_line import main

if __name__ == "__main__":
    main(benchmark, config_name="benchmark")
