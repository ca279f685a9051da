"""Train one run, or with -m a sweep of runs; `--help` shows the configuration."""

from runlab.cli.main import main
from runlab.sweeps.search import train_and_report

if __name__ == "__main__":
    main(train_and_report, config_name="train")
