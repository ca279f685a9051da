"""How many of the runs that may train together do so in one process."""

FEWEST = 5  # what fewer runs gain from a second process in ten epochs is less than its start costs


def shares(runs: int, size: int, processes: int) -> list[range]:
    """Divides runs, by their numbers, into stacks of at most `size`.

    They are shared out among the processes as long as each gets five of them.
    """
    number = max(min(processes, runs // FEWEST), -(-runs // size), 1)
    share = -(-runs // number)
    return [range(start, min(start + share, runs)) for start in range(0, runs, share)]
