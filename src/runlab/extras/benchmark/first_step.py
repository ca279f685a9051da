"""Run by task.py in a process of its own: imports, composes, builds, trains to the first step.

Imports nothing slow before its clock runs. Arguments: the overrides as JSON, and the time at which
the process was started.
"""

import json
import os
import sys
import time
from importlib import import_module

OVERRIDES, SPAWNED = json.loads(sys.argv[1]), float(sys.argv[2])


class Laps:
    def __init__(self) -> None:
        self.seconds = {"start Python": time.time() - SPAWNED}
        self.last = time.perf_counter()

    def end(self, stage: str) -> None:
        now = time.perf_counter()
        self.seconds[stage] = now - self.last
        self.last = now


def main(laps: Laps) -> None:
    for module in ("torch", "lightning", "runlab.cli.main", "runlab.train"):
        import_module(module)
        laps.end(f"import {module}")
    import lightning as L
    import torch
    from hydra import compose, initialize_config_dir
    from hydra.core.hydra_config import HydraConfig
    from hydra.utils import instantiate

    from runlab.cli.main import CONF
    from runlab.train import build, build_trainer

    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose("train", overrides=OVERRIDES, return_hydra_config=True)
    HydraConfig.instance().set_config(cfg)
    laps.end("compose the configuration")

    torch.set_num_threads(cfg.threads)
    data = instantiate(cfg.data)
    data.prepare_data()
    laps.end("verify the data, import torchvision")
    classifier = build(cfg, data)
    laps.end("build the classifier")
    trainer = build_trainer(cfg)
    laps.end("build the trainer")

    class FirstStep(L.Callback):
        def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
            laps.end("set up fit")

        def on_train_batch_end(self, *args: object, **kwargs: object) -> None:
            laps.end("first block of steps")
            print(json.dumps(laps.seconds), flush=True)
            os._exit(0)

    trainer.callbacks.append(FirstStep())  # type: ignore[attr-defined]
    trainer.fit(classifier, datamodule=data)


if __name__ == "__main__":
    main(Laps())
