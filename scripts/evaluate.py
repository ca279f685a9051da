"""Test a checkpoint again, alone: checkpoint=logs/<sweep>/<run>/checkpoints/best.ckpt"""

from omegaconf import DictConfig

from runlab.cli.main import main
from runlab.extras.evaluate import evaluate, table


def task(cfg: DictConfig) -> None:
    print(table(evaluate(cfg)))


if __name__ == "__main__":
    main(task, config_name="evaluate", paths=["checkpoint", "data_dir"])
