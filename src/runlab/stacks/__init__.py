"""Runs that train together, as one batched computation."""

from runlab.stacks.eligibility import FEWEST_PER_PROCESS as FEWEST_PER_PROCESS
from runlab.stacks.eligibility import partition_runs as partition_runs
from runlab.stacks.launch import train_together as train_together
from runlab.stacks.scheduler import available_cores as available_cores
