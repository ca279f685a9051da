"""Time a training step: by hand, losslab's, as templates do it, and the arithmetic alone."""

from runlab.cli.main import main
from runlab.extras.benchmark import benchmark

if __name__ == "__main__":
    main(benchmark, config_name="benchmark")
