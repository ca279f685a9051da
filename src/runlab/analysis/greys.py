"""The four greys of figures and pages, by day and by night."""

from markupsafe import Markup

INK = "#1a1a1a"
MUTED = "#5a5a5a"
LINES = "#d8d8d8"
PAPER = "#ffffff"
"""Text, less important text, grid lines and ground. In the page they follow light and dark."""

CSS_VARIABLES = {INK: "--ink", MUTED: "--muted", LINES: "--lines", PAPER: "--paper"}
"""Of the page, by the grey that each replaces: so that figures follow light and dark."""

DARK = {INK: "#e8e6e3", MUTED: "#a9adb3", LINES: "#3a4048", PAPER: "#15181c"}
"""What each of them is on a dark screen."""


def css_variables() -> Markup:
    """Their values, by day and by night."""
    light, dark = (
        " ".join(f"{variable}: {shade(color)};" for color, variable in CSS_VARIABLES.items())
        for shade in (str, DARK.__getitem__)
    )
    by_night = "@media screen and (prefers-color-scheme: dark)"
    return Markup(f":root {{ {light} }}\n{by_night} {{ :root {{ {dark} }} }}")
