"""Figures as files."""

import io

import matplotlib
from matplotlib.figure import Figure

KINDS = ("png", "svg")
DOTS_PER_INCH = 160


def render(figure: Figure, name: str) -> dict[str, bytes]:
    """`<name>.png` and `<name>.svg`. A fixed salt and no date: the same figure, the same bytes."""
    files = {}
    with matplotlib.rc_context({"svg.hashsalt": name}):
        for kind in KINDS:
            buffer = io.BytesIO()
            metadata = {"Date": None} if kind == "svg" else None
            figure.savefig(buffer, format=kind, dpi=DOTS_PER_INCH, metadata=metadata)
            files[f"{name}.{kind}"] = buffer.getvalue()
    return files
