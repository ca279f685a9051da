"""What the figure shows, in a few plain sentences with the numbers that matter."""

import math

from runlab.extras.landscape.result import Descended, Landscape


def caption(landscape: Landscape) -> str:
    first, second = landscape.arms
    return " ".join(
        [
            f"{subject(landscape)} on the plane through the shared start and the ends of "
            f"{named(first)} and {named(second)} (seed {landscape.seed}, n = 1): "
            f"{len(landscape.a)} × {len(landscape.b)} points, {landscape.images:,} training "
            "images.",
            f"Between start and end the path of {first.arm} leaves the plane by up to "
            f"{away(first)}, that of {second.arm} by up to {away(second)}; of the −gradient at "
            f"the start {share(first)} of its length ({first.arm}) and {share(second)} "
            f"({second.arm}) lie in the plane.",
            *retraced(landscape),
        ]
    )


def subject(landscape: Landscape) -> str:
    return "The loss" if landscape.one_loss else "Both losses"


def named(each: Descended) -> str:
    return f"{each.arm} at learning rate {each.run.learning_rate:g}"


def away(each: Descended) -> str:
    """The largest distance from the plane, beside the distance from start to end."""
    return f"{each.farthest:.2g} ({each.farthest / each.way:.0%} of the way from start to end)"


def share(each: Descended) -> str:
    return "nothing" if math.isnan(each.share) else f"{each.share:.0%}"


def retraced(landscape: Landscape) -> list[str]:
    """How the paths, trained again, end: as the runs did, or not, or nobody knows."""
    drifts = {each.run.folder.name: each.drift for each in landscape.arms}
    if set(drifts.values()) == {0.0}:
        return ["Both paths, trained again, end at the runs' last checkpoints, bit for bit."]
    return [sentence(name, drift) for name, drift in drifts.items()]


def sentence(name: str, drift: float | None) -> str:
    if drift is None:
        return f"{name} has no last.ckpt, so that nobody knows if its path ends where it did."
    if drift == 0:
        return f"The path of {name}, trained again, ends at its last checkpoint, bit for bit."
    return (
        f"Caution: the path of {name}, trained again, ends up to {drift:.1g} away from its last "
        "checkpoint in some weight, as after training in a stack, on other hardware or versions."
    )
