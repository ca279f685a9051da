"""A rendered figure as a part of an HTML page, whose colours it takes."""

import re

from markupsafe import Markup, escape

from runlab.analysis.palette import INK, LINES, MUTED, PAPER

VARIABLES = {INK: "--ink", MUTED: "--muted", LINES: "--lines", PAPER: "--paper"}
LEFT_OUT = (r"<!--.*?-->", r"<metadata>.*?</metadata>", r"<style.*?</style>")


def inline(svg: str, name: str, label: str) -> Markup:
    """The `<svg>` element, scalable, its ids unique by `name`, with `label` for who cannot see it.

    The four greys become the page's CSS variables.
    """
    svg = svg[svg.index("<svg") :]
    for pattern in LEFT_OUT:
        svg = re.sub(pattern, "", svg, flags=re.DOTALL)
    svg = re.sub(r'\bid="([^"]+)"', rf'id="{name}-\1"', svg)
    svg = re.sub(r'href="#([^"]+)"', rf'href="#{name}-\1"', svg)
    svg = re.sub(r"url\(#([^)]+)\)", rf"url(#{name}-\1)", svg)
    for color, variable in VARIABLES.items():
        svg = re.sub(re.escape(color), f"var({variable})", svg, flags=re.IGNORECASE)
    start, end = svg.split(">", 1)
    start = re.sub(r'\s(width|height|version)="[^"]*"', "", start)
    return Markup(f'{start} role="img" aria-label="{escape(label)}">{end.strip()}')
