"""Train one run, or with -m a sweep of runs; `--help` shows the configuration."""

from losslab.command_line import main
from losslab.train import train

if __name__ == "__main__":
    main(train, config_name="train")
