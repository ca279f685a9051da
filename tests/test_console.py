"""How wide what is printed is, and where it has colours; terminals here are pseudo-terminals."""

import io
from pathlib import Path

import pytest

from runlab import console
from runlab.text import aligned, wrapped
from tests.analysis.synthetic import write_run
from tests.terminal import on_terminal

HEADER = ["arms", "points [95%]", "seeds × samples", "pairs"]
ROWS = [["a_long_name − another_name", "+0.50 [0.20, 0.80]", "[0.19, 0.81]", "10"]]
SENTENCE = "a is better than b by 0.50 points [0.20, 0.80], permutation p = 0.020 over 3 seeds"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_table_that_fits_has_its_titles_on_one_line(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert aligned(HEADER, ROWS) == [
        "arms                              points [95%]  seeds × samples  pairs",
        "----------------------------------------------------------------------",
        "a_long_name − another_name  +0.50 [0.20, 0.80]     [0.19, 0.81]     10",
    ]


def test_a_wider_one_has_its_titles_and_first_column_wrapped(monkeypatch):
    monkeypatch.setenv("COLUMNS", "66")
    assert aligned(HEADER, ROWS) == [
        "arms                 points [95%]       seeds ×  pairs",
        "                                        samples",
        "------------------------------------------------------",
        "a_long_name −  +0.50 [0.20, 0.80]  [0.19, 0.81]     10",
        "another_name",
    ]


def test_what_is_too_wide_even_so_becomes_several_tables(monkeypatch):
    monkeypatch.setenv("COLUMNS", "50")
    assert aligned(HEADER, [*ROWS, ["c", "", "", "3"]]) == [
        "arms                              points [95%]",
        "----------------------------------------------",
        "a_long_name − another_name  +0.50 [0.20, 0.80]",
        "",
        "arms                        seeds × samples  pairs",
        "--------------------------------------------------",
        "a_long_name − another_name     [0.19, 0.81]     10",
        "c                                                3",
    ]


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        (
            "60",
            [
                "a is better than b by 0.50 points [0.20, 0.80], permutation",
                "p = 0.020 over 3 seeds",
            ],
        ),
        (
            "44",
            [
                "a is better than b by 0.50 points",
                "[0.20, 0.80], permutation p = 0.020 over 3",
                "seeds",
            ],
        ),
    ],
)
def test_a_sentence_breaks_neither_an_interval_nor_an_equation(monkeypatch, columns, expected):
    monkeypatch.setenv("COLUMNS", columns)
    assert wrapped(SENTENCE) == expected


def test_a_sentence_has_at_most_100_characters_a_line_and_a_table_all_of_them(monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")
    assert max(map(len, wrapped("word " * 100))) == 99
    assert len(aligned(["a", *["title"] * 20], [])[0]) == 141


@pytest.mark.parametrize(
    ("environment", "is_terminal", "coloured"),
    [
        ({}, True, True),
        ({}, False, False),
        ({"NO_COLOR": "1"}, True, False),
        ({"NO_COLOR": ""}, True, True),
        ({"FORCE_COLOR": "1"}, False, True),
        ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, True, False),
        ({"TERM": "dumb"}, True, False),
    ],
)
def test_colours_are_for_terminals_unless_a_variable_says_otherwise(
    monkeypatch, environment, is_terminal, coloured
):
    monkeypatch.setenv("TERM", "xterm")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert console.painted(
        "no\nyes", console.FAILURE, Terminal() if is_terminal else io.StringIO()
    ) == ("\x1b[31mno\x1b[0m\n\x1b[31myes\x1b[0m" if coloured else "no\nyes")


def test_a_mistake_is_red_on_a_terminal():
    said = on_terminal(80, 24, "scripts/status.py", "nowhere")
    assert said.startswith("\x1b[31mexpected the folder of a sweep, got ")
    plain = on_terminal(80, 24, "scripts/status.py", "nowhere", environment={"NO_COLOR": "1"})
    assert plain.startswith("expected the folder of a sweep, got ")


@pytest.mark.long
@pytest.mark.parametrize(("columns", "rows"), [(80, 24), (120, 40)])
def test_a_comparison_follows_the_width_of_its_terminal(tmp_path: Path, columns, rows):
    for seed in range(6):
        write_run(tmp_path, "cross_entropy", 0.1, seed, 0.97 + seed / 1_000)
        write_run(tmp_path, "a_loss_of_a_longer_name", 0.1, seed, 0.96)
    said = on_terminal(columns, rows, "scripts/compare.py", str(tmp_path))
    first = "a_loss_of_a_longer_name" if "a_loss" in said.splitlines()[0][:10] else "cross_entropy"
    assert said.splitlines()[0].startswith(f"\x1b[1;32m{first} ")
    lines = said.replace("\x1b[1;32m", "").replace("\x1b[33m", "").replace("\x1b[0m", "")
    widest = max(map(len, lines.splitlines()[:-1]))  # the last is the page's path
    assert columns - 10 < widest <= columns if columns < 100 else 90 < widest <= columns
