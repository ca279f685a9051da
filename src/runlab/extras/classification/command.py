"""Classify drawings or photos of your own."""

from omegaconf import DictConfig

from runlab.cli.loading import loading
from runlab.config import arguments
from runlab.runs import record

EXAMPLE = "a file, a list [one.png,two.jpg] or a folder"


def predict(cfg: DictConfig) -> None:
    """As `prediction.predict`; a missing argument is told before torch is imported."""
    arguments.checkpoint(cfg, record.why_no_checkpoint)
    arguments.given(cfg, "images", EXAMPLE)
    with loading():
        from runlab.extras.classification.prediction import predict

    predict(cfg)
