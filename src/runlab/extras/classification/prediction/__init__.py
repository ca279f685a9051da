"""A person's drawings: brought to the form of the training data, classified, and shown."""

from runlab.extras.classification.prediction.predict import predict as predict
