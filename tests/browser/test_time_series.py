"""Time Series and its deep links."""

import pytest
from playwright.sync_api import expect

from runlab.extras.dashboard.servers import ALL, make_shortcuts

pytestmark = pytest.mark.browser
ROWS = "runs-data-table tb-data-table-content-row"


def test_every_run_is_listed_by_name_and_shown(open_tab, sweep_url, records):
    page = open_tab(sweep_url, "timeseries")
    expect(page.locator(ROWS)).to_have_count(40)
    assert [text.strip() for text in page.locator(ROWS).all_inner_texts()] == [*records]
    expect(page.locator(f"{ROWS} input:checked")).to_have_count(40)


def test_a_card_tells_each_runs_last_value(open_tab, sweep_url, last_epochs, records):
    page = open_tab(sweep_url, "timeseries", tagFilter="val/accuracy", smoothing="0")
    expect(page.locator("scalar-card")).to_have_count(1)
    rows = page.locator("scalar-card tb-data-table-content-row")
    expect(rows).to_have_count(40)
    shown = {}
    for row in rows.all_inner_texts():
        run, value, step, *_ = row.split()
        assert step == "1,718"
        shown[run] = float(value)
    kept = {run: float(last_epochs[run]["val/accuracy"]) for run in records}
    assert shown == pytest.approx(kept, abs=5e-5)  # it shows four digits


def test_the_deep_link_colours_by_arm(page, sweep_url):
    page.goto(sweep_url + make_shortcuts()[f"{ALL}/curves"].removeprefix(f"{ALL}/"))
    expect(page.locator(ROWS)).to_have_count(40)
    colours = {"cross_entropy": set(), "mse": set()}
    swatches = page.locator(ROWS).evaluate_all(
        "rows => rows.map(row => [row.innerText, "
        "row.querySelector('[style*=background]').style.background])"
    )
    for run, colour in swatches:
        [arm] = (arm for arm in colours if f"loss={arm}," in run)
        colours[arm].add(colour)
    assert all(len(each) == 1 for each in colours.values())
    assert colours["mse"] != colours["cross_entropy"]


def test_a_deep_link_filters_runs_and_pins_a_card(open_tab, sweep_url):
    pinned = '[{"plugin":"scalars","tag":"val/accuracy"}]'
    page = open_tab(sweep_url, "timeseries", runFilter="seed=0", pinnedCards=pinned)
    expect(page.locator(ROWS)).to_have_count(8)
    expect(page.locator("metrics-pinned-view card-view")).to_have_count(1)
