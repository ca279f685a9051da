"""Class probabilities as text."""

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor

COLUMNS = 80
LONGEST_BAR = 50
LONGEST_NAME = 30
EIGHTHS = " ▏▎▍▌▋▊▉█"


def bars(
    title: str,
    probabilities: Float[Tensor, " classes"],
    classes: Sequence[str],
    encoding: str = "utf-8",
) -> str:
    """The title with the likeliest class, then a bar a class: `#` if the encoding has no blocks."""
    likeliest = int(probabilities.argmax())
    names = [shortened(name) for name in classes]
    width = max(map(len, names))
    length = min(LONGEST_BAR, COLUMNS - len("     100.0%") - width)
    bar = blocks if can_show(EIGHTHS, encoding) else hashes
    lines = [f"{title}: {classes[likeliest]} ({percent(float(probabilities[likeliest]))})"]
    for name, probability in zip(names, probabilities.tolist(), strict=True):
        drawn = bar(probability, length).ljust(length)
        lines.append(f"  {name.ljust(width)}  {drawn} {percent(probability):>6}")
    return "\n".join(lines).encode(encoding, "backslashreplace").decode(encoding)


def percent(probability: float) -> str:
    return f"{probability:.1%}"


def blocks(probability: float, length: int) -> str:
    whole, eighths = divmod(round(8 * length * probability), 8)
    return "█" * whole + EIGHTHS[eighths].strip()


def hashes(probability: float, length: int) -> str:
    return "#" * round(length * probability)


def shortened(name: str) -> str:
    return name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 2]}.."


def can_show(text: str, encoding: str) -> bool:
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return False
    return True
