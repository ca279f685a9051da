"""What is shown and written: terminal text, Markdown, CSV and the figure."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from runlab.analysis.compare import compare
from runlab.analysis.comparison import Comparison
from runlab.analysis.figures import sensitivity_figure
from runlab.analysis.terminal import terminal
from runlab.analysis.write import draw_figures, write
from runlab.text import aligned
from tests.analysis.drawings import drawn
from tests.analysis.synthetic import ACCURACY, write_plausible_sweep, write_run
from tests.analysis.tables import RATE, STYLES

ARMS = {"cross_entropy": (0.1, 0.979), "mse": (0.5, 0.975), "mse_logits": (0.05, 0.978)}


@pytest.fixture(scope="module")
def comparison(tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    sweep = tmp_path_factory.mktemp("sweep")
    rates = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1]
    rng = np.random.default_rng(0)
    write_plausible_sweep(sweep, ARMS, rates, 3, rng, diverges_beyond={"mse_logits": 0.3})
    return compare(sweep)


@pytest.fixture(scope="module")
def folder(comparison: Comparison) -> Path:
    return write(comparison)


def test_terminal_fits_100_columns(comparison: Comparison) -> None:
    assert max(map(len, terminal(comparison).splitlines())) <= 100


def test_terminal_of_many_long_arms_fits_100_columns(tmp_path: Path) -> None:
    for width in range(6):
        config = {"model": {"widths": [width] * 30, "a_rather_long_name_of_a_setting": width}}
        name = f"{'long' * 50}{width}"
        write_run(tmp_path, "mse_logits", 0.1, 0, config=config, name=name)
        write_run(tmp_path, "mse_logits", 0.1, 1, config=config, name=f"{name}x", status="failed")
    assert max(map(len, terminal(compare(tmp_path)).splitlines())) <= 100


def test_terminal_begins_with_the_verdict_and_marks_choice_and_divergence(tmp_path: Path) -> None:
    for seed, accuracy in enumerate((0.97, 0.99)):
        write_run(tmp_path, "mse", 0.1, seed, accuracy)
        write_run(tmp_path, "mse", 0.2, seed, 0.1, status="diverged" if seed else "finished")
    lines = terminal(compare(tmp_path)).splitlines()
    assert lines[0].startswith("mse: 98.00% [85.29, 110.71] test accuracy at learning rate 0.1")
    assert "0.1  98.00 ± 1.41 *" in lines
    assert "0.2  10.00 ± 0.00   †1" in lines


@pytest.mark.long
def test_markdown_has_every_cell_and_the_choice_in_bold(
    comparison: Comparison, folder: Path
) -> None:
    page = (folder / "comparison.md").read_text()
    headline = "Too few seeds to say whether cross_entropy or mse is better."
    assert page.splitlines()[2].startswith(f"- **{headline}** {headline[:-1]}")
    cells = page.split("![Mean validation score")[1].split("## Speed of learning")[0]
    assert cells.count("\n| ") + cells.count("\n| **") == 2 + 21 + 3
    assert "Naive: both arms at the same learning rate" in page
    assert "- hardware: cpu Synthetic CPU" in page


def test_all_files_are_written_and_nothing_else(comparison: Comparison, folder: Path) -> None:
    assert folder == comparison.sweep / "comparison"
    tables = ("arms", "cells", "curves", "differences", "paired", "runs")
    figures = ("grid", "paired", "sensitivity")  # for learning curves these runs kept nothing
    assert {path.name for path in folder.iterdir()} == {
        *("comparison.html", "comparison.md", "conclusion.json"),
        *("papers.tex", "papers.txt"),
        *(f"{name}.csv" for name in tables),
        *(f"{name}.{kind}" for name in figures for kind in ("png", "svg")),
    }
    assert len(pd.read_csv(folder / "runs.csv")) == 63
    cells = pd.read_csv(folder / "cells.csv")
    assert cells.groupby("arm")["chosen"].sum().tolist() == [1, 1, 1]
    assert (folder / "sensitivity.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.long
def test_the_same_runs_give_the_same_files(comparison: Comparison, folder: Path) -> None:
    first = {path.name: path.read_bytes() for path in folder.iterdir()}
    again = {path.name: path.read_bytes() for path in write(compare(comparison.sweep)).iterdir()}
    assert first == again


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    write_run(tmp_path, "mse", 0.1, 0)
    (tmp_path / "comparison").write_text("in the way")
    with pytest.raises(ValueError, match=r"expected to write the comparison into .*comparison"):
        write(compare(tmp_path))


def test_figure_has_a_line_an_arm_in_its_colour(comparison: Comparison) -> None:
    main = drawn(sensitivity_figure(comparison.cells, ACCURACY, STYLES, RATE)).axes[0]
    lines = {
        str(line.get_label()): line
        for line in main.get_lines()
        if not str(line.get_label()).startswith("_")
    }
    assert list(lines) == ["cross_entropy", "mse", "mse_logits"]
    assert lines["mse"].get_color() == "#D55E00"
    expected = comparison.cells.loc[comparison.cells["arm"] == "mse", "val_mean"]
    assert np.asarray(lines["mse"].get_ydata()).tolist() == expected.tolist()


def test_the_figures_band_goes_no_further_than_any_run(tmp_path: Path) -> None:
    for seed, accuracy in enumerate([0.97] * 9 + [0.1]):  # the mean + sd would be 115%
        write_run(tmp_path, "mse", 0.1, seed, accuracy)
    main = drawn(sensitivity_figure(compare(tmp_path).cells, ACCURACY, STYLES, RATE)).axes[0]
    assert main.get_ylim()[1] < 98.5


def test_figure_counts_diverged_runs(comparison: Comparison) -> None:
    below = drawn(sensitivity_figure(comparison.cells, ACCURACY, STYLES, RATE)).axes[1]
    diverged = comparison.cells[comparison.cells["diverged"] > 0]
    assert [text.get_text() for text in below.texts] == [f"{n}/3" for n in diverged["diverged"]]


@pytest.mark.parametrize("accuracy", [0.0, 0.1, 1.0])
def test_figure_of_one_run_can_be_drawn(tmp_path: Path, accuracy: float) -> None:
    write_run(tmp_path, "mse", 0.1, 0, accuracy)
    figures = draw_figures(compare(tmp_path), [])
    drawn(figures["sensitivity"]).draw_without_rendering()
    assert figures["grid"] is None  # a single cell is no grid


def test_figure_without_any_known_accuracy_can_be_drawn(tmp_path: Path) -> None:
    nothing = {"val/accuracy": None, "test/accuracy": None}
    write_run(tmp_path, "mse", 0.1, 0, status="diverged", metrics=nothing)
    comparison = compare(tmp_path)
    write(comparison)
    assert comparison.verdict.startswith("No arm can be judged")
    assert terminal(comparison)


def test_a_table_aligns_cells_of_several_lines() -> None:
    assert aligned(["arm", "n"], [["mse\nmodel=cnn", "10"], ["x", "3"]]) == [
        "arm         n",
        "-------------",
        "mse        10",
        "model=cnn",
        "x           3",
    ]


@pytest.mark.long
def test_of_many_arms_the_best_are_shown_and_all_are_written(tmp_path: Path) -> None:
    for width in range(1, 16):
        for seed in range(2):
            accuracy = 0.9 + width / 1_000
            write_run(
                tmp_path, "mse", 0.1, seed, accuracy, name=f"{width},{seed}",
                config={"model": {"width": width}},
            )  # fmt: skip
    comparison = compare(tmp_path)
    shown = comparison.shown()
    assert shown.cells["arm"].tolist() == [f"mse, width={width}" for width in range(4, 16)]
    assert len(shown.conclusions) == len(shown.differences) == 11
    assert shown.warnings[0].startswith("15 arms are compared, of which the 12 best on validation")
    folder = write(comparison)
    assert len(pd.read_csv(folder / "cells.csv")) == 15
    assert len(pd.read_csv(folder / "differences.csv")) == 14


def test_beyond_a_hundred_pairs_arms_are_compared_with_the_best(tmp_path: Path) -> None:
    for width in range(16):
        config = {"model": {"width": width}}
        write_run(tmp_path, "mse", 0.1, 0, 0.9 - width / 100, name=f"{width}", config=config)
    differences = compare(tmp_path).differences
    assert differences["arm"].tolist() == ["mse, width=0"] * 15
