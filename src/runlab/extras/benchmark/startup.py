"""Run by benchmark.py in a new process: imports, composes, builds, trains to the first step.

Imports nothing slow before its clock runs. Arguments: the folder of configurations, the overrides
as JSON, and the time at which the process was started.
"""

import json
import os
import sys
import time
from importlib import import_module


class StageTimer:
    def __init__(self, process_started: float) -> None:
        self.seconds = {"start Python": time.time() - process_started}
        self.last = time.perf_counter()

    def end_stage(self, name: str) -> None:
        now = time.perf_counter()
        self.seconds[name] = now - self.last
        self.last = now


def main(conf: str, overrides: list[str], timer: StageTimer) -> None:
    for name in ("torch", "lightning", "runlab.cli.main", "runlab.train"):
        import_module(name)
        timer.end_stage(f"import {name}")
    import lightning as L
    import torch
    from hydra import compose, initialize_config_dir
    from hydra.core.hydra_config import HydraConfig

    from runlab.components import build_data, build_module, build_trainer

    with initialize_config_dir(conf, version_base="1.3"):
        cfg = compose("train", overrides=overrides, return_hydra_config=True)
    HydraConfig.instance().set_config(cfg)
    timer.end_stage("compose the configuration")

    torch.set_num_threads(cfg.threads)
    data = build_data(cfg)
    timer.end_stage("verify the data, import torchvision")
    module = build_module(cfg)
    timer.end_stage("build the module")
    trainer = build_trainer(cfg)
    timer.end_stage("build the trainer")

    class FirstStep(L.Callback):
        blocks_suffice = True

        def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
            timer.end_stage("set up fit")

        def on_train_batch_end(self, *args: object, **kwargs: object) -> None:
            timer.end_stage("first block of steps")
            print(json.dumps(timer.seconds), flush=True)
            os._exit(0)

    trainer.callbacks.append(FirstStep())  # type: ignore[attr-defined]
    trainer.fit(module, datamodule=data)


if __name__ == "__main__":
    main(sys.argv[1], json.loads(sys.argv[2]), StageTimer(process_started=float(sys.argv[3])))
