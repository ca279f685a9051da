"""Train one run, or with -m a sweep of runs; `--help` shows the configuration."""

from pathlib import Path

from runlab.cli.main import main
from runlab.sweeps.search import train_and_report

CONF = Path(__file__).resolve().parents[1] / "conf"

if __name__ == "__main__":
    main(train_and_report, config_name="train", config_dir=CONF)
