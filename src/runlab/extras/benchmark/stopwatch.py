import lightning as L

from runlab.extras.benchmark.arithmetic import clock


class Stopwatch(L.Callback):
    """Counts from `on_train_start` to `on_train_end`, but not between a validation's start and end.

    Placed first among the callbacks, it also counts what is done as a validation starts, when
    loggers get what training measured, and what other callbacks do at its end, such as writing the
    best checkpoint. `started` and `ended` are readings of the clock.
    """

    def __init__(self) -> None:
        self.seconds = 0.0
        self.steps = 0

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.started = self.resumed = clock(pl_module.device)

    def on_validation_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.seconds += clock(pl_module.device) - self.resumed

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.resumed = clock(pl_module.device)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.ended = clock(pl_module.device)
        self.seconds += self.ended - self.resumed
        self.steps = trainer.global_step

    def seconds_per_step(self, steps: int) -> float:
        if self.steps != steps:
            raise ValueError(
                f"expected {steps} optimizer steps, got {self.steps}; choose a trainer that trains "
                f"whole epochs (default, cpu, gpu) and a learning rate that does not diverge"
            )
        return self.seconds / steps
