"""Figures as files, and as parts of an HTML page."""

import io
import re

import matplotlib
from markupsafe import Markup, escape
from matplotlib.figure import Figure

from runlab.analysis.palette import INK, LINES, MUTED, PAPER

FORMATS = ("png", "svg")
DOTS_PER_INCH = 160

CSS_VARIABLES = {INK: "--ink", MUTED: "--muted", LINES: "--lines", PAPER: "--paper"}
"""Of the page, by the grey that each replaces: so that figures follow light and dark."""

NOT_INLINE = (r"<!--.*?-->", r"<metadata>.*?</metadata>", r"<style.*?</style>")
"""What an SVG file needs, and an SVG element of a page does not."""


def render(figure: Figure, name: str) -> dict[str, bytes]:
    """`<name>.png` and `<name>.svg`. A fixed salt and no date: the same figure, the same bytes."""
    files = {}
    with matplotlib.rc_context({"svg.hashsalt": name}):
        for extension in FORMATS:
            buffer = io.BytesIO()
            metadata = {"Date": None} if extension == "svg" else None
            figure.savefig(buffer, format=extension, dpi=DOTS_PER_INCH, metadata=metadata)
            files[f"{name}.{extension}"] = buffer.getvalue()
    return files


def inline_svg(svg: str, name: str, label: str) -> Markup:
    """The `<svg>` element for a page: scalable, its ids made unique by `name`.

    `label` is read to who cannot see it. The four greys become the page's CSS variables.
    """
    svg = svg[svg.index("<svg") :]
    for pattern in NOT_INLINE:
        svg = re.sub(pattern, "", svg, flags=re.DOTALL)
    svg = re.sub(r'\bid="([^"]+)"', rf'id="{name}-\1"', svg)
    svg = re.sub(r'href="#([^"]+)"', rf'href="#{name}-\1"', svg)
    svg = re.sub(r"url\(#([^)]+)\)", rf"url(#{name}-\1)", svg)
    for color, variable in CSS_VARIABLES.items():
        svg = re.sub(re.escape(color), f"var({variable})", svg, flags=re.IGNORECASE)
    start, end = svg.split(">", 1)
    start = re.sub(r'\s(width|height|version)="[^"]*"', "", start)
    return Markup(f'{start} role="img" aria-label="{escape(label)}">{end.strip()}')
