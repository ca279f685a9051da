"""What a comparison tells of classifiers beside the engine's own: named in conf/comparison."""

from runlab.extras.classification.report.sections import Calibration, Gradients

__all__ = ["Calibration", "Gradients"]
