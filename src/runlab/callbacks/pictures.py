"""When pictures are drawn, and the loggers that show them."""

import math
from typing import Any

import lightning as L
from lightning.pytorch.loggers import Logger, TensorBoardLogger
from lightning.pytorch.loggers.logger import DummyLogger
from torch.utils.tensorboard.summary import Summary

from runlab.callbacks.canvas import Canvas

MOST = 10
"""Validations of a run that are looked at."""


def wanted(trainer: L.Trainer) -> bool:
    """Whether a validation of a fit is one of at most ten that are looked at.

    Among them is the last one of a run that ends as planned. All are where their number is not
    known before, none where no logger shows pictures. The same on every rank, and at a validation's
    start and end.
    """
    training = trainer.state.fn == "fit" and not trainer.sanity_checking
    return training and any(map(shows_pictures, trainer.loggers)) and due(trainer)


def due(trainer: L.Trainer) -> bool:
    batches, epochs = trainer.num_training_batches, trainer.max_epochs or -1
    interval: Any = trainer.val_check_batch
    if epochs < 1 or math.isinf(batches) or interval is None:  # None: it is a time
        return True
    progress, every = trainer.fit_loop.epoch_loop.batch_progress, trainer.check_val_every_n_epoch
    if every is None:  # an interval may be longer than an epoch
        done = progress.total.ready // interval
        last = epochs * int(batches) // interval
    else:
        per_epoch = batches // interval
        done = trainer.current_epoch // every * per_epoch + progress.current.ready // interval
        last = epochs // every * per_epoch
    return done == last or done % math.ceil(last / MOST) == 0


def shows_pictures(logger: Logger) -> bool:
    if isinstance(logger, DummyLogger):  # fast_dev_run's, which has every attribute
        return False
    return isinstance(logger, TensorBoardLogger) or hasattr(logger, "log_image")


def class_names(trainer: L.Trainer) -> list[str]:
    """As text, whatever the data module has: `range(10)` serves too."""
    return [str(name) for name in trainer.datamodule.classes]  # type: ignore[attr-defined]


def show(trainer: L.Trainer, tag: str, canvas: Canvas) -> None:
    """Gives a picture to TensorBoard and to loggers with Lightning's `log_image`, as of this step.

    Others, such as CSVLogger, have no place for one.
    """
    for logger in trainer.loggers:
        if isinstance(logger, TensorBoardLogger):
            # `add_image` would take all three colours, and ten times as long
            height, width = canvas.pixels.shape
            image = Summary.Image(
                height=height, width=width, colorspace=3, encoded_image_string=canvas.png
            )
            summary = Summary(value=[Summary.Value(tag=tag, image=image)])
            logger.experiment._get_file_writer().add_summary(summary, trainer.global_step)
        elif shows_pictures(logger):
            logger.log_image(tag, [canvas.image], step=trainer.global_step)  # type: ignore[attr-defined]


def tensorboards(trainer: L.Trainer) -> list[Any]:
    """The `SummaryWriter` of each logger for TensorBoard; none but on the first rank."""
    loggers = [each for each in trainer.loggers if isinstance(each, TensorBoardLogger)]
    return [logger.experiment for logger in loggers] if trainer.is_global_zero else []
