"""How many of the runs that may train together do so in one process."""

from itertools import pairwise

FEWEST = 5  # what fewer runs gain from a second process in ten epochs is less than its start costs


def shares(runs: int, size: int, processes: int) -> list[range]:
    """Divides runs, by their numbers, into stacks of at most `size`.

    They are shared out among the processes, evenly, as long as each gets five of them.
    """
    number = max(min(processes, runs // FEWEST), -(-runs // size), 1)
    return evenly(runs, number)


def evenly(runs: int, number: int) -> list[range]:
    """So many shares, whose sizes differ by at most one."""
    starts = [runs * each // number for each in range(number + 1)]
    return [range(start, end) for start, end in pairwise(starts)]
