"""What a comparison writes for papers: LaTeX, and a paragraph."""

import re
from pathlib import Path

import pytest

from runlab.analysis.compare import compare
from runlab.analysis.comparison import Comparison
from runlab.analysis.page import to_page
from runlab.analysis.papers import to_latex, to_paragraph
from runlab.text import latex
from tests.analysis.synthetic import write_module_run, write_run


@pytest.fixture(scope="module")
def comparison(tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    sweep = tmp_path_factory.mktemp("logs") / "first"
    for seed in range(6):
        for place, loss in enumerate(("cross_entropy", "mse", "100%_$x$\\input{y}")):
            for rate in (0.1, 0.2):
                accuracy = 0.97 - place / 50 - rate / 10 + seed * (place + 1) / 1000
                write_run(sweep, loss, rate, seed, accuracy, name=f"{place},{rate},{seed}")
    return compare(sweep)


def test_the_paragraph_says_the_conclusions_and_the_method(comparison):
    paragraph = to_paragraph(comparison)
    assert paragraph.startswith(f"{comparison.verdict}. ")
    assert all(f"{conclusion}." in paragraph for conclusion in comparison.conclusions)
    for part in (
        "Each arm was trained with 6 seeds at the chosen learning rate",
        "(2 from 0.1 to 0.2) by mean validation accuracy over seeds.",
        "Student's 95% intervals",
        "permutation test that flips the signs of the paired differences (every flip).",
        "A difference within ±0.2 points counts as none that matters (",
        "corrected by Holm's method over 3 differences.",
        "Trained with numpy 2.4.6, torch 2.15.0 on cpu Synthetic CPU.",
    ):
        assert part in paragraph


def test_the_tables_are_whole_and_hold_the_numbers_of_the_comparison(comparison):
    text = to_latex(comparison)
    for table in ("table", "tabular"):
        assert text.count(f"\\begin{{{table}}}") == text.count(f"\\end{{{table}}}") == 2
    for tabular in re.findall(r"\\begin\{tabular\}.*?\\end\{tabular\}", text, re.DOTALL):
        columns = len(re.match(r"\\begin\{tabular\}\{(l r*)\}".replace(" ", ""), tabular)[1])
        rows = [line for line in tabular.splitlines() if line.endswith(r" \\")]
        assert len(rows) == 4
        assert {row.count(" & ") for row in rows} == {columns - 1}
    row = comparison.arms.iloc[0]
    assert f"cross\\_entropy & 0.1 & 6 & 0 & 0 & {row['val_mean']:.2f} $\\pm$ " in text
    assert r"100\%\_\$x\$\textbackslash{}input\{y\}" in text


def test_what_arms_are_called_is_no_command():
    text = latex("\\a{b}$&#%_^~`\"'|<>[1]--''\x1b é")
    assert text == (
        r"\textbackslash{}a\{b\}\$\&\#\%\_\textasciicircum{}\textasciitilde{}\textasciigrave{}"
        r"\char34{}'\textbar{}$<$$>${[}1{]}-{}-'{}'\textbackslash{}x1b é"
    )


@pytest.fixture(scope="module")
def uneven(tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    sweep = tmp_path_factory.mktemp("logs") / "uneven"
    for seed in range(2):
        for loss, rates in {"cross_entropy": (0.1, 0.2), "mse": (0.1, 0.2, 0.4)}.items():
            for rate in rates:
                write_run(sweep, loss, rate, seed)
    return compare(sweep)


def test_arms_that_were_not_tried_alike_are_told_so(uneven: Comparison):
    assert "of those tried (2 to 3, by arm, from 0.1 to 0.4)" in to_paragraph(uneven)


def test_no_product_counts_runs_that_are_no_grid(uneven: Comparison):
    page = to_page(uneven, {}, [])
    assert "10 runs of 2 arms" in page
    assert "2 arms ×" not in page


def test_where_nothing_is_tuned_or_compared_nothing_is_said_of_it(tmp_path: Path):
    write_module_run(tmp_path / "one", "a", 0)
    comparison = compare(tmp_path / "one")
    assert "\\begin{table}" in to_latex(comparison)
    assert to_latex(comparison).count("\\begin{table}") == 1
    paragraph = to_paragraph(comparison)
    assert "Each arm was trained with 1 seed." in paragraph
    assert "Holm" not in paragraph
    assert "learning rate" not in paragraph
