"""After which validations pictures are drawn, and which loggers show them."""

import math
from typing import Any

import lightning as L
from lightning.pytorch.loggers import Logger, TensorBoardLogger
from lightning.pytorch.loggers.logger import DummyLogger
from torch.utils.tensorboard.summary import Summary

from runlab.callbacks.canvas import Canvas

MAX_VALIDATIONS = 10
"""Of a run, after which something is drawn."""


def should_draw(trainer: L.Trainer) -> bool:
    """Whether this is a validation of `fit` after which callbacks draw: one of at most ten.

    Among them is the last one of a run that ends as planned. Where their number is not known before
    it is every one. It is none where no logger shows pictures. The answer is the same on every
    rank, and at a validation's start and end.
    """
    fitting = trainer.state.fn == "fit" and not trainer.sanity_checking
    return fitting and any(map(shows_pictures, trainer.loggers)) and is_scheduled(trainer)


def is_scheduled(trainer: L.Trainer) -> bool:
    """Whether this validation is one of at most ten evenly spaced ones."""
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
    return done == last or done % math.ceil(last / MAX_VALIDATIONS) == 0


def shows_pictures(logger: Logger) -> bool:
    """True for TensorBoard and for loggers with Lightning's `log_image`, such as WandbLogger."""
    if isinstance(logger, DummyLogger):  # fast_dev_run's, which has every attribute
        return False
    return isinstance(logger, TensorBoardLogger) or hasattr(logger, "log_image")


def log_picture(trainer: L.Trainer, tag: str, canvas: Canvas) -> None:
    """Gives a picture, as of this step, to each logger that shows pictures."""
    for logger in trainer.loggers:
        if isinstance(logger, TensorBoardLogger):
            # `add_image` would take all three colours, and ten times as long
            height, width = canvas.pixels.shape
            picture = Summary.Image(
                height=height, width=width, colorspace=3, encoded_image_string=canvas.to_png()
            )
            summary = Summary(value=[Summary.Value(tag=tag, image=picture)])
            logger.experiment._get_file_writer().add_summary(summary, trainer.global_step)
        elif shows_pictures(logger):
            logger.log_image(tag, [canvas.to_pil()], step=trainer.global_step)  # type: ignore[attr-defined]


def summary_writers(trainer: L.Trainer) -> list[Any]:
    """The `SummaryWriter` of each logger for TensorBoard; none but on the first rank."""
    loggers = [each for each in trainer.loggers if isinstance(each, TensorBoardLogger)]
    return [logger.experiment for logger in loggers] if trainer.is_global_zero else []
