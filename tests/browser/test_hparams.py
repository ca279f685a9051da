"""HParams: table, parallel coordinates and scatter plots."""

import pytest
from playwright.sync_api import expect

pytestmark = pytest.mark.browser
SWEPT = ["loss", "lr", "max_epochs", "seed"]
METRICS = {"best": "val", "test": "test"}  # prefix in TensorBoard: prefix in run.json
QUANTITIES = ("accuracy", "brier", "ece", "loss", "nll")


@pytest.fixture
def hparams(look, forty):
    page = look(forty, "hparams")
    grid = page.locator("tf-hparams-table-view vaadin-grid")
    expect(grid).to_be_visible()
    page.wait_for_function("grid => grid.items?.length == 40", arg=grid.element_handle())
    return page


def rows(page) -> list[dict]:
    return page.locator("tf-hparams-table-view vaadin-grid").evaluate("grid => grid.items")


def test_the_table_has_what_was_swept_with_its_type(hparams, records):
    shown = {row["name"]: row["hparams"] for row in rows(hparams)}
    assert [*shown] == [*records]
    for run, values in shown.items():
        config = records[run]["config"]
        assert sorted(values) == SWEPT
        assert values["loss"] in run
        assert (values["lr"], values["seed"]) == (config["optimizer"]["lr"], config["seed"])


def test_the_table_has_the_metrics_of_each_runs_record(hparams, records):
    for row in rows(hparams):
        shown = {each["name"]["tag"]: each["value"] for each in row["metricValues"]}
        kept = records[row["name"]]["metrics"]
        for prefix, split in METRICS.items():
            for quantity in QUANTITIES:
                expected = kept[f"{split}/{quantity}"]
                assert shown[f"{prefix}/{quantity}"] == pytest.approx(expected, rel=1e-6)


def test_a_person_reads_them_in_the_table(hparams, records):
    first = next(iter(records))
    best = records[first]["metrics"]["val/accuracy"]
    cells = hparams.locator("tf-hparams-table-view vaadin-grid-cell-content")
    expect(cells.filter(has_text=first)).to_have_count(1)
    expect(cells.filter(has_text=f"{best:.5f}").first).to_be_visible()


def test_parallel_coordinates_have_a_line_for_each_run(hparams):
    hparams.get_by_text("Parallel coordinates view").click()
    plot = hparams.locator("tf-hparams-parallel-coords-plot")
    expect(plot.locator("g.foreground path")).to_have_count(40)
    axes = plot.locator("text.axis-title").all_text_contents()
    assert {*SWEPT, "best/accuracy"} <= {*axes}  # of the metrics, the first five unless asked


def test_scatter_plots_have_a_point_for_each_run(hparams):
    hparams.get_by_text("Scatter plot matrix view").click()
    plot = hparams.locator("tf-hparams-scatter-plot-matrix-plot")
    expect(plot.locator("g.cell").first.locator("circle.data-marker")).to_have_count(40)
