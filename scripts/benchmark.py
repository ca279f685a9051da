"""Time a training step: by hand, this template's, as others do it, and the arithmetic alone."""

from pathlib import Path

from runlab.cli.main import main
from runlab.extras.benchmark.benchmark import benchmark

CONF = Path(__file__).resolve().parents[1] / "conf"

if __name__ == "__main__":
    main(benchmark, config_name="benchmark", config_dir=CONF)
