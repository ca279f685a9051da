"""What a run's classifications look like, for TensorBoard and for the comparison of a sweep."""

from runlab.extras.classification.callbacks.confusion import Confusion as Confusion
from runlab.extras.classification.callbacks.first_layer import FirstLayer as FirstLayer
from runlab.extras.classification.callbacks.predictions import PRCurves as PRCurves
from runlab.extras.classification.callbacks.predictions import Predictions as Predictions
from runlab.extras.classification.callbacks.projector import Projector as Projector
from runlab.extras.classification.callbacks.sample_images import SampleImages as SampleImages
