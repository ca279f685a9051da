"""Runs that train together, as one batched computation."""

from losslab.stack.launch import StackedSteps as StackedSteps
from losslab.stack.launch import current as current
from losslab.stack.launch import train_together as train_together
from losslab.stack.shares import shares as shares
from losslab.stack.stacks import cores as cores
