"""Losses: outputs [batch, classes] and labels [batch] in, a scalar out.

Each owns its target encoding, its output activation and its reduction, and maps outputs to class
probabilities, because which mapping is right depends on the loss.
"""

from losslab.losses.cross_entropy import CrossEntropy as CrossEntropy
from losslab.losses.mse import MSE as MSE
from losslab.losses.mse_logits import MSELogits as MSELogits
