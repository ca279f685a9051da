"""Where the stacks of a sweep are trained: here, in several processes, as a cluster's jobs."""
