"""Scalars, the older tab."""

import pytest
from playwright.sync_api import expect

pytestmark = pytest.mark.browser
RUNS = "tf-runs-selector .name-row"
TAGS = {
    "best": 2,
    "final": 2,
    "test": 5,
    "timing": 1,
    "train": 4,
    "train_gradient_norm": 3,
    "val": 6,
}


def test_every_run_is_listed_and_checked(open_tab, sweep_url, records):
    page = open_tab(sweep_url, "scalars")
    expect(page.locator(RUNS)).to_have_count(40)
    assert {text.strip() for text in page.locator(RUNS).all_inner_texts()} == {*records}
    expect(page.locator(f"{RUNS} paper-checkbox[checked]")).to_have_count(40)


def test_tags_are_grouped_and_the_same_for_every_run(open_tab, sweep_url):
    page = open_tab(sweep_url, "scalars")
    expect(page.locator("button.heading")).to_have_count(len(TAGS))
    shown = (text.split() for text in page.locator("button.heading").all_inner_texts())
    assert {name: int(count or 1) for name, count in ((*each, "")[:2] for each in shown)} == TAGS


def test_hovering_tells_a_runs_value(open_tab, sweep_url, records):
    run = "loss=mse,lr=0.1,seed=0,max_epochs=2"
    page = open_tab(sweep_url, "scalars")
    page.locator("tf-tag-filterer input").fill("^test/accuracy$")
    page.locator("tf-runs-selector input").fill(f"^{run}$")
    chart = page.locator("tf-scalar-card .main").first
    expect(chart.locator("path.symbol")).to_have_count(1)
    chart.hover()
    row = page.locator("vz-line-chart-tooltip tr", has_text=run)
    expect(row).to_be_visible()
    values = [float(cell) for cell in row.locator("td").all_inner_texts() if cell[:2] == "0."]
    assert values[-1] == pytest.approx(records[run]["metrics"]["test/accuracy"], abs=5e-5)
