"""A person's drawings: brought to the form of the training data, classified, and shown."""

from losslab.prediction.predict import predict as predict
