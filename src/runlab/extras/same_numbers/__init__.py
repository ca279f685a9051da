"""Two sweeps, number by number: whether a change of the code left every number as it was."""
