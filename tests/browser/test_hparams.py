"""HParams: table, parallel coordinates and scatter plots."""

import pytest
from playwright.sync_api import expect

pytestmark = pytest.mark.browser
SWEPT = ["loss", "lr", "seed"]  # not max_epochs, which is one for all
SHOWN = ["best/accuracy", "best/epochs", "final/accuracy", "final/epochs", "test/accuracy"]
"""Of the metrics, the first five by name, unless others are asked for."""


@pytest.fixture
def hparams(open_tab, sweep_url):
    page = open_tab(sweep_url, "hparams")
    grid = page.locator("tf-hparams-table-view vaadin-grid")
    expect(grid).to_be_visible()
    page.wait_for_function("grid => grid.items?.length == 40", arg=grid.element_handle())
    return page


def rows(page) -> dict[str, dict]:
    """The table's rows by run; a run alone is a trial."""
    grid = page.locator("tf-hparams-table-view vaadin-grid")
    return {row["sessions"][0]["name"]: row for row in grid.evaluate("grid => grid.items")}


def test_the_table_has_what_was_swept_with_its_type(hparams, records):
    shown = {run: row["hparams"] for run, row in rows(hparams).items()}
    assert sorted(shown) == [*records]
    for run, values in shown.items():
        config = records[run]["config"]
        assert values == {
            "loss": records[run]["choices"]["loss"],
            "lr": config["optimizer"]["lr"],
            "seed": config["seed"],
        }


def test_the_table_has_the_metrics_of_each_runs_record(hparams, last_epochs, records):
    for run, row in rows(hparams).items():
        shown = {each["name"]["tag"]: each["value"] for each in row["metricValues"]}
        kept, last = records[run]["metrics"], last_epochs[run]
        expected = {f"test/{name}": kept[f"test/{name}"] for name in ("accuracy", "loss", "ece")}
        expected |= {
            "best/accuracy": kept["val/accuracy"],
            "best/epochs": kept["best_epoch"] + 1,
            "final/accuracy": float(last["val/accuracy"]),
            "final/epochs": 2,
        }
        assert {name: shown[name] for name in expected} == pytest.approx(expected, rel=1e-6)
        assert not {"test/chance", "test/samples"} & set(shown)  # no measures of how good a run is


def test_a_person_reads_them_in_the_table(hparams, records):
    row = next(iter(rows(hparams).values()))
    best = records[row["sessions"][0]["name"]]["metrics"]["val/accuracy"]
    cells = hparams.locator("tf-hparams-table-view vaadin-grid-cell-content")
    expect(cells.filter(has_text=row["name"])).to_have_count(1)
    expect(cells.filter(has_text=f"{best:.5f}").first).to_be_visible()


def test_parallel_coordinates_have_a_line_for_each_run(hparams):
    hparams.get_by_text("Parallel coordinates view").click()
    plot = hparams.locator("tf-hparams-parallel-coords-plot")
    expect(plot.locator("g.foreground path")).to_have_count(40)
    axes = plot.locator("text.axis-title").all_text_contents()
    assert axes == [*SWEPT, *SHOWN]


def test_scatter_plots_have_a_point_for_each_run(hparams):
    hparams.get_by_text("Scatter plot matrix view").click()
    plot = hparams.locator("tf-hparams-scatter-plot-matrix-plot")
    expect(plot.locator("g.cell").first.locator("circle.data-marker")).to_have_count(40)
