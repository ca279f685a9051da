"""The HTML page: nothing from elsewhere, nothing unescaped, each figure and number in its place."""

import base64
import gzip
import hashlib
import json
import re
from collections import Counter
from collections.abc import Sequence
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest

from runlab.analysis import interactive
from runlab.analysis.comparison import Comparison
from runlab.analysis.figures import sensitivity_figure
from runlab.analysis.page import to_page
from runlab.analysis.rendering import inline_svg
from runlab.analysis.section import Section
from runlab.analysis.write import ALT_TEXTS, draw_figures
from tests.analysis import tables
from tests.analysis.drawings import drawn, to_svg
from tests.analysis.sections import Extra

VOID = {"meta", "link", "br", "hr", "img", "input"}


class Reader(HTMLParser):
    """Every tag with its attributes and the text, after a check that tags are closed in order."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.page, self.open = page, list[str]()
        self.tags, self.text = list[tuple[str, dict[str, str | None]]](), ""
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data if self.open[-1:] != ["script"] else ""

    def values(self, attribute: str) -> list[str]:
        return [str(attrs[attribute]) for _, attrs in self.tags if attribute in attrs]

    def count(self, tag: str) -> int:
        return sum(name == tag for name, _ in self.tags)

    @property
    def words(self) -> str:
        return " ".join(self.text.replace("\N{NBSP}", " ").split())


def draw(comparison: Comparison, sections: Sequence[Section] = ()) -> dict[str, str]:
    figures = draw_figures(comparison, sections)
    return {
        name: figure if isinstance(figure, str) else to_svg(figure)
        for name, figure in figures.items()
        if figure is not None
    }


def page_of(comparison: Comparison, svgs: dict[str, str], *sections: Section) -> str:
    alt_texts = ALT_TEXTS | {
        name: text for each in sections for name, text in each.alt_texts.items()
    }
    drawings = {name: inline_svg(svg, name, alt_texts[name]) for name, svg in svgs.items()}
    return to_page(comparison, drawings, sections)


@pytest.fixture(scope="module")
def svgs() -> dict[str, str]:
    return draw(tables.comparison(), [Extra()])


@pytest.fixture(scope="module")
def page(svgs: dict[str, str]) -> Reader:
    return Reader(page_of(tables.comparison(), svgs, Extra()))


def read(**changes: Any) -> Reader:
    return Reader(page_of(tables.comparison(**changes), {}))


def test_page_needs_nothing_from_elsewhere(page: Reader) -> None:
    assert not {"link", "iframe", "object", "embed"} & {t for t, _ in page.tags}
    assert not [attrs for tag, attrs in page.tags if tag == "script" and "src" in attrs]
    links = [*page.values("href"), *page.values("src"), *page.values("xlink:href")]
    assert not [link for link in links if "//" in link or link.startswith("data:")]
    assert "url(http" not in page.page
    assert "@import" not in page.page
    assert page.page.count("http:") == page.page.count('"http://www.w3.org/')  # namespaces
    assert "https:" not in page.page


def test_browsers_are_told_to_run_its_own_scripts_alone_and_to_fetch_nothing(page: Reader) -> None:
    [policy] = [str(attrs["content"]) for _, attrs in page.tags if "http-equiv" in attrs]
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    [script] = re.findall("<script>(.*?)</script>", page.page, flags=re.DOTALL)
    [packed] = re.findall('id="library">(.*?)<', page.page)
    texts = [script.encode(), gzip.decompress(base64.b64decode(packed))]
    digests = [base64.b64encode(hashlib.sha256(text).digest()).decode() for text in texts]
    assert rules["default-src"] == "'none'"
    assert rules["script-src"] == " ".join(f"'sha256-{digest}'" for digest in digests)
    assert "unsafe-eval" not in policy
    assert not [name for _, attrs in page.tags for name in attrs if name.startswith("on")]


def test_what_was_held_equal_and_the_command_stand_above_the_verdict(page: Reader) -> None:
    words = page.words
    verdict = words.index("cross_entropy beats mse by 0.40 points")
    assert words.index("MNIST, 10,000 test samples") < verdict
    assert words.index("27: 3 arms × 3 learning rates × 3 seeds") < verdict
    assert words.index("losslab train -m seed=0,1,2 'model.widths=[8]'") < verdict


def test_links_say_what_their_headings_say(page: Reader) -> None:
    headings = dict(re.findall('<h2 id="(.*?)">(.*?)</h2>', page.page))
    links = dict(re.findall('<li><a href="#(.*?)">(.*?)</a></li>', page.page))
    assert links.items() <= headings.items()
    assert links["naive"] == "Naive: the same learning rate for all arms"


def test_page_is_html_with_a_language_and_a_title(page: Reader) -> None:
    assert page.page.lstrip().startswith("<!DOCTYPE html>")
    assert ("html", {"lang": "en"}) in page.tags
    assert "mse_vs_cross_entropy: comparison" in page.text
    assert page.count("h1") == 1


def test_ids_are_unique_and_every_reference_has_its_target(page: Reader) -> None:
    ids = Counter(page.values("id"))
    assert max(ids.values()) == 1
    references = [*page.values("href"), *page.values("xlink:href")]
    targets = {link[1:] for link in references if link.startswith("#")}
    targets |= {name for label in page.values("aria-labelledby") for name in label.split()}
    targets |= {url.split(")")[0] for url in page.page.split("url(#")[1:]}
    assert targets <= set(ids)


def test_every_figure_is_there_captioned_and_named_for_who_cannot_see_it(
    page: Reader, svgs: dict[str, str]
) -> None:
    drawings = [attrs for tag, attrs in page.tags if tag == "svg"]
    assert page.count("figure") == page.count("figcaption") == len(drawings) == len(svgs)
    assert all(attrs["role"] == "img" and attrs["aria-label"] for attrs in drawings)
    assert set(svgs) == {*ALT_TEXTS, "extra"} <= set(page.values("id"))
    assert "What is drawn, & why" in page.text


def test_figures_take_their_greys_from_the_page(page: Reader) -> None:
    body = page.page.split("</style>")[1].split("<script")[0]
    assert "fill: var(--ink)" in body
    assert "fill: var(--paper)" in body
    for grey in ("#1a1a1a", "#5a5a5a", "#d8d8d8", "#ffffff"):
        assert grey not in body


def test_sections_come_in_the_order_of_the_protocol(page: Reader) -> None:
    order = ["effect", "uncertainty", "reach", "rates", "speed", "extra-part", "naive"]
    sections = [attrs["aria-labelledby"] for tag, attrs in page.tags if tag == "section"]
    assert sections == [*order, "runs", "cost", "method"]


def test_the_verdict_comes_first_and_warnings_right_below_it(page: Reader) -> None:
    verdict = page.words.index("cross_entropy beats mse by 0.40 points")
    warning = page.words.index("two runs trained elsewhere")
    assert verdict < warning < page.words.index("Two uncertainties")


def test_numbers_stand_with_their_intervals_and_n(page: Reader) -> None:
    for number in ("+0.40 [0.10, 0.70]", "96.80 [96.60, 97.00]"):
        assert number in page.words
    assert "cross_entropy − mse +0.40" in page.words
    assert "27 runs of 3 arms" in page.words
    assert "within ±0.2 points" in page.words
    assert "never" in page.words
    text = page.text.replace("\n", "")
    assert "hardwarecpu Synthetic CPUversionsnot recordedrevisionnot recorded" in text


def test_what_people_wrote_is_escaped() -> None:
    arms = ('<b>"mse"</b>, width=$8', "a & b")
    named = tables.comparison(arms, seeds=2, warnings=["<script>alert(1)</script>"])
    svg = to_svg(
        drawn(sensitivity_figure(named.cells, named.measure, named.arm_styles, named.rate))
    )
    reader = Reader(page_of(named, {"sensitivity": svg}))
    assert reader.count("b") == 0
    assert reader.count("script") == 3  # its own
    assert '<b>"mse"</b>, width=$8' in reader.text
    assert "<script>alert(1)</script>" in reader.text


def test_code_within_the_method_is_marked(page: Reader) -> None:
    assert "<code>samples</code>" in page.page
    assert "`" not in page.text
    assert "<code>" not in page.text


def test_one_run_makes_a_page() -> None:
    one = tables.comparison(("mse",), (0.2,), seeds=1, warnings=[])
    reader = Reader(page_of(one, draw(one)))
    assert "1 run of 1 arm" in reader.words
    assert "nan" not in reader.words.split()
    assert "What could mislead" not in reader.words


def test_a_page_without_margin_speaks_of_no_equivalence() -> None:
    assert "±0.2" not in read(margin=None).words


def test_a_page_of_nothing_but_cells_says_what_is_missing() -> None:
    full = tables.comparison()
    names = ("arms", "differences", "paired", "naive", "speed", "history")
    empty = {name: getattr(full, name)[:0] for name in names}
    reader = read(**empty, conclusions=["No arm can be judged"])
    assert "No arm can be judged: no cell has a validation accuracy" in reader.words
    assert "kept no curves.csv" in reader.words


def test_long_lists_are_folded() -> None:
    reader = read(warnings=[f"warning {place}" for place in range(9)])
    assert "3 more" in reader.words
    assert "warning 8" in reader.words


def test_a_typical_page_stays_small() -> None:
    rates = tuple(np.geomspace(0.01, 10, 10))
    typical = tables.comparison(rates=rates, seeds=10)
    assert len(page_of(typical, draw(typical))) < 1_500_000


def data_of(page: Reader) -> dict[str, Any]:
    [data] = re.findall('<script type="application/json" id="data">(.*?)</script>', page.page)
    return json.loads(data)


def test_a_pointer_finds_values_of_cells_and_curves_and_runs(page: Reader) -> None:
    data = data_of(page)
    assert set(data["plots"]) == {"sensitivity", "learning_curves", "run"}
    assert len(data["runs"]["rows"]) == 27
    assert data["runs"]["columns"][:3] == ["arm", "learning rate", "seed"]
    assert data["runs"]["rows"][0][2] == [0.0, "0"]


def test_a_page_of_many_runs_holds_some_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interactive, "MOST_RUNS", 5)
    monkeypatch.setattr(interactive, "MOST_VALUES", 4)
    reader = read()
    assert len(data_of(reader)["runs"]["rows"]) == 5
    assert "first 5 of 27 runs; runs.csv has all" in reader.words
    assert "points, those of the first runs; curves.csv has all" in reader.words
