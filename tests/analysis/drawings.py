"""What a test asks of a figure."""

import io
import re
from collections.abc import Iterable
from typing import Any

from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from runlab.analysis.greys import INK, LINES, MUTED, PAPER


def drawn(figure: Figure | None) -> Figure:
    assert figure is not None
    return figure


def to_svg(figure: Figure) -> str:
    with io.StringIO() as buffer:
        figure.savefig(buffer, format="svg")
        return buffer.getvalue()


def lines(axes: Axes) -> dict[str, Line2D]:
    named = {str(line.get_label()): line for line in axes.get_lines()}
    return {label: line for label, line in named.items() if not label.startswith("_")}


def dots(axes: Axes) -> list[tuple[str, int]]:
    """Colour and number of the points of each line of mere points."""
    points = [line for line in axes.get_lines() if line.get_linestyle() == "None"]
    return [(to_hex(line.get_color()), len(line.get_xydata())) for line in points]


def words(artists: Iterable[Any]) -> list[str]:
    return [artist.get_text() for artist in artists]


def legend(figure: Figure) -> list[str]:
    return words(figure.legends[0].get_texts())


def assert_greys_follow_the_page(svg: str) -> None:
    """Every text has a colour, and every grey is one of the four that the page replaces."""
    texts = re.findall(r'<g id="text_\d+">\s*(?:<!--.*?-->\s*)?<g ([^>]*)>', svg)
    assert texts
    assert all("fill: #" in attributes for attributes in texts)  # else they would be black
    greys = {color for color in re.findall(r"#(?:[0-9a-f]{2}){3}", svg) if _is_grey(color)}
    assert greys <= {INK, MUTED, LINES, PAPER}


def _is_grey(color: str) -> bool:
    red, green, blue = (int(color[place : place + 2], 16) for place in (1, 3, 5))
    return max(red, green, blue) - min(red, green, blue) < 12
