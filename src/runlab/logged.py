"""LoggedModule: what a LightningModule logs, against optimizer steps and without waiting."""

from numbers import Number
from typing import Any

import lightning as L
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor

from runlab.blocks.metric_buffer import MetricBuffer, forget_logged_step, number_on_cpu


class LoggedModule(L.LightningModule):
    """Logs against optimizer steps, where Lightning would count calls of `training_step`.

    Attributes:
        metric_buffer: what was logged by `log_deferred`.
        logging_hooks: in which training has given loggers something by `log` in this epoch.
    """

    def __init__(self) -> None:
        super().__init__()
        self.metric_buffer = MetricBuffer()
        self.logging_hooks: set[str] = set()

    def log_deferred(self, name: str, value: Tensor | float) -> None:
        """Logs a number of a block without a look at it, for which a GPU would have to wait.

        It is read when the next validation starts, at the end of an epoch, with a checkpoint, and
        after half a minute. Loggers get it as of its own step. When a validation or an epoch has
        ended, `callback_metrics` holds, and keeps until the next, its mean since the validation
        before or, without validation, over the epoch. On several devices each has to log it; it is
        their mean.

        Raises:
            ValueError: for a tensor of several numbers.
            TypeError: for what is no number.
        """
        self.metric_buffer.add(name, value, self.trainer)

    def log(
        self, name: str, value: Any, prog_bar: bool = False, logger: bool | None = None,
        *args: Any, **kwargs: Any,
    ) -> None:  # fmt: skip
        """Lightning's; in training, too, against optimizer steps."""
        trainer = self._trainer
        if isinstance(value, Number) and trainer is not None and trainer.world_size == 1:
            value = number_on_cpu(value)  # Lightning would take it to the device, and back
        super().log(name, value, prog_bar, logger, *args, **kwargs)
        if self.training and logger is not False:
            self.logging_hooks.add(str(self._current_fx_name))

    def log_deferred_means(self) -> None:
        for name, mean in self.metric_buffer.means().items():
            self.log(name, mean, logger=False, sync_dist=True)

    def log_step(self) -> None:
        """Makes optimizer steps the x axis of what this hook logs; Lightning would count blocks."""
        step = float(self.trainer.global_step)
        # of one device, and so without waiting for others, which may have nothing to log
        self.log("step", step, sync_dist=True, rank_zero_only=True)

    # Lightning's hooks

    def setup(self, stage: str) -> None:
        if stage == "fit":
            self.metric_buffer = MetricBuffer()

    def on_train_start(self) -> None:
        forget_logged_step(self.trainer)

    def on_train_end(self) -> None:
        forget_logged_step(self.trainer, False)

    def on_train_batch_end(self, *_: Any) -> None:
        if any("epoch" not in hook for hook in self.logging_hooks):
            self.log_step()

    def on_validation_start(self) -> None:
        if self.trainer.state.fn == TrainerFn.FITTING:
            self.metric_buffer.flush(self.trainer)

    def on_validation_epoch_end(self) -> None:
        if self.trainer.state.fn == TrainerFn.FITTING:
            self.log_deferred_means()
            self.metric_buffer.reset()

    def on_train_epoch_end(self) -> None:
        self.metric_buffer.flush(self.trainer)  # where no validation came last
        self.log_deferred_means()
        if not self.trainer.enable_validation:
            self.metric_buffer.reset()
        if self.logging_hooks:
            self.log_step()
        self.logging_hooks.clear()
