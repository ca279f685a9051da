"""Which loss and which learning rate train the better classifier, and how sure are we?"""

from losslab.classifier import Classifier as Classifier
from losslab.regressor import Regressor as Regressor
