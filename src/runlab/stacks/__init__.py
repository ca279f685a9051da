"""Runs that train together, as one batched computation."""

from runlab.stacks.launch import StackedSteps as StackedSteps
from runlab.stacks.launch import current as current
from runlab.stacks.launch import train_together as train_together
from runlab.stacks.partition import shares as shares
from runlab.stacks.scheduler import cores as cores
