"""Run by task.py in a process of its own: imports, composes, builds, trains to the first step.

Imports nothing slow before its clock runs. Arguments: the folder of the
configuration, the overrides as JSON, and the time at which the process was started.
"""

import json
import os
import sys
import time
from importlib import import_module

CONFIG_DIR, OVERRIDES, STARTED = sys.argv[1], json.loads(sys.argv[2]), float(sys.argv[3])


class StageTimer:
    def __init__(self) -> None:
        self.seconds = {"start Python": time.time() - STARTED}
        self.last = time.perf_counter()

    def end(self, stage: str) -> None:
        now = time.perf_counter()
        self.seconds[stage] = now - self.last
        self.last = now


def main(timer: StageTimer) -> None:
    for name in ("torch", "lightning", "runlab.cli.main", "runlab.train"):
        import_module(name)
        timer.end(f"import {name}")
    import lightning as L
    import torch
    from hydra import compose, initialize_config_dir
    from hydra.core.hydra_config import HydraConfig
    from hydra.utils import instantiate

    from runlab.components import build_module, build_trainer

    with initialize_config_dir(CONFIG_DIR, version_base="1.3"):
        cfg = compose("train", overrides=OVERRIDES, return_hydra_config=True)
    HydraConfig.instance().set_config(cfg)
    timer.end("compose the configuration")

    torch.set_num_threads(cfg.threads)
    data = instantiate(cfg.data)
    data.prepare_data()
    timer.end("verify the data, import torchvision")
    module = build_module(cfg, data)
    timer.end("build the module")
    trainer = build_trainer(cfg)
    timer.end("build the trainer")

    class FirstStep(L.Callback):
        def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
            timer.end("set up fit")

        def on_train_batch_end(self, *args: object, **kwargs: object) -> None:
            timer.end("first block of steps")
            print(json.dumps(timer.seconds), flush=True)
            os._exit(0)

    trainer.callbacks.append(FirstStep())  # type: ignore[attr-defined]
    trainer.fit(module, datamodule=data)


if __name__ == "__main__":
    main(StageTimer())
