"""Test a checkpoint again, alone: checkpoint=logs/<sweep>/<run>/checkpoints/best.ckpt"""

from omegaconf import DictConfig

from losslab.command_line import main
from losslab.evaluation import evaluate, table


def task(cfg: DictConfig) -> None:
    print(table(evaluate(cfg)))


if __name__ == "__main__":
    main(task, config_name="evaluate", paths=["checkpoint", "data_dir"])
