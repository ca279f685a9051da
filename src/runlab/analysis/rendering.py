"""Tables and figures as files, and figures as parts of an HTML page."""

import base64
import io
import re
from collections.abc import Iterator
from typing import Any

import matplotlib
import pandas as pd
from markupsafe import Markup, escape
from matplotlib.figure import Figure

from runlab.analysis.greys import CSS_VARIABLES, css_variables
from runlab.text import spreadsheet

FORMATS = ("png", "svg")
DOTS_PER_INCH = 160
ROWS_AT_ONCE = 20_000

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


def to_csv(table: pd.DataFrame) -> bytes:
    """No text in it, nor the name of a column, is a formula to who opens it."""
    return b"".join(csv_parts(table))


def csv_parts(table: pd.DataFrame) -> Iterator[bytes]:
    """`to_csv` in parts: the text of a large table is several times its size in memory."""
    for start in range(0, max(len(table), 1), ROWS_AT_ONCE):
        part = table[start : start + ROWS_AT_ONCE].rename(columns=spreadsheet)
        texts = part.select_dtypes(exclude="number").map(_spreadsheet)
        yield part.assign(**texts).to_csv(index=False, header=start == 0).encode()


def _spreadsheet(value: Any) -> Any:
    return spreadsheet(value) if isinstance(value, str) else value


def embedded_svg(svg: str, label: str) -> Markup:
    """An `<img>` element with the file in it: for a picture that lay in a folder, whoever made it.

    Browsers run no script in one, and fetch nothing for it. The four greys turn with the page.
    """
    style = f"<style>{css_variables()}</style>"
    svg = re.sub(r'\bd="[^"]*"', _rounded, with_css_variables(svg)).replace(
        "</svg>", f"{style}</svg>", 1
    )
    content = base64.b64encode(svg.encode()).decode()
    return Markup('<img src="data:image/svg+xml;base64,{}" alt="{}">').format(content, label)


def inline_svg(svg: str, name: str, label: str) -> Markup:
    """The `<svg>` element for a page, of a figure drawn here: scalable, ids made unique by `name`.

    `label` is read to who cannot see it. The four greys become the page's CSS variables.
    """
    svg = svg[svg.index("<svg") :]
    for pattern in NOT_INLINE:
        svg = re.sub(pattern, "", svg, flags=re.DOTALL)
    svg = re.sub(r'\bid="([^"]+)"', rf'id="{name}-\1"', svg)
    svg = re.sub(r'href="#([^"]+)"', rf'href="#{name}-\1"', svg)
    svg = re.sub(r"url\(#([^)]+)\)", rf"url(#{name}-\1)", svg)
    svg = re.sub(r'\bd="[^"]*"', _rounded, with_css_variables(svg))
    start, end = svg.split(">", 1)
    start = re.sub(r'\s(width|height|version)="[^"]*"', "", start)
    return Markup(f'{start} role="img" aria-label="{escape(label)}">{end.strip()}')


def _rounded(path: re.Match[str]) -> str:
    """A path in hundredths of a point: finer than any screen, and a third of its bytes less."""
    return re.sub(r"(\.\d\d)\d+", r"\1", path[0])


def with_css_variables(svg: str) -> str:
    for color, variable in CSS_VARIABLES.items():
        svg = re.sub(re.escape(color), f"var({variable})", svg, flags=re.IGNORECASE)
    return svg
