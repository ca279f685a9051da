"""What a sweep concludes, in a TensorBoard of its own: bands over seeds, figures, sentences."""

import pytest
from playwright.sync_api import expect

from tests.browser.server import tensorboard
from tests.extras.dashboard.opened import opened

pytestmark = pytest.mark.browser
RATES = 4


@pytest.fixture(scope="module")
def aggregates(sweep):
    with tensorboard(sweep.with_name(f"{sweep.name}.aggregates"), 3) as url:
        yield url


def test_bands_over_seeds_overlay_the_arms(open_tab, aggregates):
    page = open_tab(aggregates, "custom_scalars")
    headings = page.locator("button.heading .category-name")
    expect(headings.first).to_contain_text("At each arm's chosen learning rate")
    chart = page.locator("tf-custom-scalar-margin-chart-card").first
    expect(chart.locator("path.area")).to_have_count(2)
    areas = [path.get_attribute("d") for path in chart.locator("path.area").all()]
    assert all("NaN" not in area for area in areas)


def test_figures_and_the_conclusion_are_there(open_tab, aggregates):
    page = open_tab(aggregates, "images")
    expect(page.locator("tf-image-loader img").first).to_be_visible()
    open_tab(aggregates, "text")
    expect(page.locator("tf-text-loader").first).to_contain_text("cross_entropy")


@pytest.fixture(scope="module")
def links(sweep, commands):
    with opened(commands, str(sweep), home=sweep.parent) as (_, links):
        yield links


def test_the_dashboard_opens_on_the_conclusion(page, links):
    page.goto(links["conclusion"])
    expect(page.locator("tf-text-loader").first).to_contain_text("Comparison of forty")


def test_no_tab_of_the_dashboard_opens_empty_and_arms_keep_their_colour(page, links):
    page.goto(links["figures"])
    expect(page.locator("tf-image-loader img").first).to_be_visible()
    page.goto(links["means over seeds"])
    expect(page.locator("tf-custom-scalar-margin-chart-card")).to_have_count(4)  # the others wait
    page.goto(links["curves of the chosen runs"])
    rows = page.locator("runs-data-table tb-data-table-content-row")
    expect(rows).to_have_count(3 + 2 * 5)
    swatches = rows.evaluate_all(
        "rows => rows.map(row => [row.innerText.trim().split(',')[0], "
        "row.querySelector('[style*=background]').style.background])"
    )
    assert len({arm for arm, _ in swatches}) == len(set(map(tuple, swatches)))
    expect(page.locator("scalar-card").first).to_be_visible()
