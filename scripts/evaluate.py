"""Test a checkpoint again, alone: checkpoint=logs/<sweep>/<run>/checkpoints/best.ckpt"""

from pathlib import Path

from omegaconf import DictConfig

from runlab.cli.main import main
from runlab.extras.evaluate import evaluate, table

CONF = Path(__file__).resolve().parents[1] / "conf"


def task(cfg: DictConfig) -> None:
    print(table(evaluate(cfg)))


if __name__ == "__main__":
    main(task, config_name="evaluate", config_dir=CONF, paths=["checkpoint", "data_dir"])
