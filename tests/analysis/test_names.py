"""What people, and files from elsewhere, write into names: each output shows it, none obeys it."""

import base64
import csv
import io
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from markdown import Markdown
from matplotlib.figure import Figure

from runlab.analysis.compare import compare
from runlab.analysis.comparison import Comparison
from runlab.analysis.rebuild import rebuild
from runlab.analysis.rendering import embedded_svg, to_csv
from runlab.analysis.terminal import print_comparison
from runlab.analysis.write import draw_figures
from runlab.text import code, latex, markdown, printable, spreadsheet
from tests.analysis.drawings import legend
from tests.analysis.sections import EXTRA
from tests.analysis.synthetic import MEASURES, keep_curves, write_run
from tests.analysis.test_page import Reader

SCRIPT = "<script>alert(1)</script>"
PICTURE = '"><img src=x onerror=alert(1)>'
ARMS = (f"a{SCRIPT}", "$x^{$|**b**`c`", "![d](http://x.test/e.png)", "=f('A1')\x1b[2J")
SVG = (
    '<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)" viewBox="0 0 1 1">'
    f"{SCRIPT}<foreignObject><iframe src='javascript:alert(1)'/></foreignObject>"
    '<rect fill="#1A1A1A" width="1" height="1"/></svg>'
)


def write_hostile(sweep: Path) -> Path:
    measures = (replace(MEASURES[0], title=f"acc <i> ${PICTURE}$", unit="|%$"), *MEASURES[1:])
    for place, arm in enumerate(ARMS):
        for seed in range(6):
            folder = write_run(
                sweep, arm, 0.1, seed, 0.9 - place / 10 + seed / 1000, name=f"={place} <b>,{seed}",
                measures=measures, choices={"model": f"{PICTURE}{place % 2}\u202e"},
                module={"probability_formula": f"{SCRIPT}$z"},
                provenance={"hardware": {"cpu": f"{PICTURE}\x1b]0;t\x07"}, "data": SCRIPT},
                comparison={"sections": [EXTRA], "arm_styles": {
                    arm: {"color": f"red;{SCRIPT}", "marker": "o"}}},
            )  # fmt: skip
            keep_curves(folder, [0.5, 0.6])
    write_run(sweep, "mse", 0.1, 0, name=f"torn {PICTURE}\n# d")
    (sweep / f"torn {PICTURE}\n# d" / "run.json").write_text('{"status": "\\u001b[2J"}')
    (sweep / "comparison").mkdir()
    (sweep / "comparison" / "stored.svg").write_text(SVG)
    return sweep


def refuse(*arguments: object, **options: object) -> None:
    raise AssertionError("no name is mathematics")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Comparison, str]]:
    """A comparison of runs of such names, and what the terminal got."""
    sweep = write_hostile(tmp_path_factory.mktemp("s") / "<b>\x1b[2J[g](x.test) & $h$")
    out = io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.stdout", out)
        patch.setattr("matplotlib.mathtext.MathTextParser.parse", refuse)
        yield rebuild(sweep, show=print_comparison), out.getvalue()


def read(made: tuple[Comparison, str], name: str) -> str:
    return (made[0].folder / name).read_text()


@pytest.mark.long
def test_no_element_of_the_page_comes_from_a_name(made: tuple[Comparison, str]) -> None:
    page = Reader(read(made, "comparison.html"))
    tags = {tag for tag, _ in page.tags if tag not in SVG_TAGS}
    assert tags <= {
        *("html", "head", "meta", "title", "style", "body", "header", "main", "nav", "section"),
        *("article", "aside", "input", "label", "noscript", "output", "script"),
        *("h1", "h2", "h3", "p", "ul", "ol", "li", "a", "br", "code", "span", "i"),
        *("details", "summary", "figure", "figcaption", "div", "img", "dl", "dt", "dd"),
        *("table", "thead", "tbody", "tr", "th", "td"),
    }
    assert [tag for tag, _ in page.tags].count("script") == 3  # data, library, the page's own
    assert not [name for _, attrs in page.tags for name in attrs if name.startswith("on")]
    assert all(link.startswith("data:image/svg+xml;base64,") for link in page.values("src"))
    links = [*page.values("href"), *page.values("xlink:href")]
    assert not [link for link in links if ":" in link or "//" in link]
    styles = [style for style in page.values("style") if style.startswith("background:")]
    assert styles
    assert all(re.fullmatch(r"background:(#\w{6}|var\(--\w+\))", style) for style in styles)
    for text in (SCRIPT, PICTURE, ARMS[1], ARMS[2]):
        assert text in page.text
    assert printable(ARMS[3]) in page.text
    assert page.page.replace("\n", "").replace("\N{NBSP}", "").isprintable()


SVG_TAGS = {"svg", "g", "defs", "path", "use", "clippath", "rect", "lineargradient", "stop"}


@pytest.mark.long
def test_a_picture_from_the_folder_is_one_in_which_no_script_runs(
    made: tuple[Comparison, str],
) -> None:
    page = Reader(read(made, "comparison.html"))
    [shown] = [attrs for tag, attrs in page.tags if tag == "img"]
    assert shown["alt"] == "A figure that lay there"
    content = base64.b64decode(str(shown["src"]).partition(",")[2]).decode()
    assert 'onload="alert(1)"' in content  # there, and shut in
    assert 'fill="var(--ink)"' in content
    assert "prefers-color-scheme: dark" in content


def test_what_describes_a_picture_ends_with_it() -> None:
    picture = Reader(str(embedded_svg("<svg></svg>", PICTURE)))
    assert [tag for tag, _ in picture.tags] == ["img"]


def test_markdown_shows_names_as_they_are(made: tuple[Comparison, str]) -> None:
    text = read(made, "comparison.md")
    assert text.replace("\n", "").isprintable()
    html = Reader(Markdown(extensions=["tables"]).convert(text))  # as TensorBoard does
    assert {tag for tag, _ in html.tags} <= {
        *("h1", "h2", "p", "ul", "li", "strong", "code", "img"),
        *("table", "thead", "tbody", "tr", "th", "td"),
    }
    assert set(html.values("src")) <= {f"{name}.svg" for name in FIGURES}
    shown = html.text.replace("\\", "")
    for name in (SCRIPT, PICTURE, printable(ARMS[3]), *ARMS[1:3]):
        assert name.replace("\\", "") in shown
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    assert html.count("td") + html.count("th") == sum(
        len(re.findall(r"(?<!\\)\|", row)) - 1 for row in rows if not row.startswith("| ---")
    )


FIGURES = ("paired", "sensitivity", "grid", "learning_curves", "extra", "stored")


def test_the_terminal_gets_no_control_character(made: tuple[Comparison, str]) -> None:
    assert r"\x1b[2J" in made[1]
    assert r"torn " in made[1]
    assert made[1].replace("\n", "").isprintable()


def test_no_cell_of_a_table_is_a_formula(made: tuple[Comparison, str]) -> None:
    for name in ("runs", "cells", "arms", "differences", "paired", "curves"):
        with (made[0].folder / f"{name}.csv").open(newline="") as file:
            header, *rows = csv.reader(file)
        texts = [cell for row in (header, *rows) for cell in row if not is_number(cell)]
        assert not [cell for cell in texts if cell.startswith(("=", "+", "-", "@", "\t", "\r"))]
    assert "'=f('A1')" in read(made, "cells.csv")


def is_number(cell: str) -> bool:
    return re.fullmatch(r"[-+]?(\d+\.?\d*([eE][-+]?\d+)?|inf|nan)", cell) is not None


def test_figures_hold_no_script_and_no_control_character(made: tuple[Comparison, str]) -> None:
    for path in made[0].folder.glob("*.svg"):
        if path.name != "stored.svg":
            assert "<script" not in path.read_text()
            assert "\x1b" not in path.read_text()


def test_an_arm_that_begins_as_what_matplotlib_hides_is_in_the_legend(tmp_path: Path) -> None:
    for arm in ("_a", "b"):
        for rate in (0.1, 0.2):
            write_run(tmp_path, arm, rate, 0)
    figure = draw_figures(compare(tmp_path), [])["sensitivity"]
    assert isinstance(figure, Figure)
    assert [text.partition(" (")[0] for text in legend(figure)[:2]] == ["_a", "b"]


def test_what_is_no_markup_stays_as_it_is() -> None:
    for text in (
        "cross_entropy − mse_logits",
        "p < 0.001",
        "a & b",
        "+0.40 [0.10, 0.70]",
        "lr=0.1",
    ):
        assert markdown(text) == printable(text) == spreadsheet(text.lstrip("+")) or "+" in text
    assert markdown("x_ __init__") == r"x\_ \_\_init\_\_"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("<b>&lt;", "&lt;b>&amp;lt;"),
        ("[a](b) [c][d] [e]: f", r"[a]\(b) [c]\[d] [e]\: f"),
        ("# a", r"\# a"),
        ("> a", r"\> a"),
        ("- a\n- b", r"\- a\\n- b"),
        (r"\<", r"\\<"),
    ],
)
def test_what_is_markup_is_escaped(text: str, shown: str) -> None:
    assert markdown(text) == shown


def test_code_has_a_fence_that_its_text_does_not() -> None:
    assert code("a") == "`a`"
    assert code("a``b`") == "``` a``b` ```"


def test_what_is_printable_is_left_alone_and_what_is_not_is_shown() -> None:
    assert printable("größer − 0.1\N{NBSP}%, 你好") == "größer − 0.1\N{NBSP}%, 你好"
    assert printable("\x1b[2J\n\u202e\x9b\u2028") == r"\x1b[2J\n\u202e\x9b\u2028"
    assert printable("a\nb\r", keep="\n") == "a\nb\\r"


@pytest.mark.parametrize("text", ["-0.5", "+1e-3", "-inf", "mse", ""])
def test_numbers_and_names_stay_what_they_are_in_a_table(text: str) -> None:
    assert spreadsheet(text) == text


def test_the_name_of_a_column_is_no_formula_either() -> None:
    assert to_csv(pd.DataFrame({"=a()": [-1.5], "b": ["@c"]})) == b"'=a(),b\n-1.5,'@c\n"


@pytest.mark.long
def test_latex_reads_names_as_they_are(made: tuple[Comparison, str]) -> None:
    text = read(made, "papers.tex")
    assert printable(text, keep="\n") == text
    assert all(latex(arm) in text for arm in ARMS)
    plain = re.sub(r"\\[{}$&#%_\\]|\\[a-z]+|\$(?:<|>|-|\\pm)\$", "", text, flags=re.IGNORECASE)
    rows = [line for line in plain.splitlines() if not line.startswith("%")]
    assert not re.search(r"[$#%_^~\\]", "\n".join(rows))
