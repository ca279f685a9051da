"""The page of a comparison opened from its file: it answers to a pointer, and needs no network."""

import pytest
from playwright.sync_api import expect

pytestmark = pytest.mark.browser


@pytest.fixture
def report(page, sweep):
    page.goto((sweep / "comparison" / "comparison.html").as_uri())
    expect(page.locator("#sensitivity [data-plot]")).to_be_visible()
    return page


def test_the_table_filters_sorts_and_opens_the_curve_of_a_run(report):
    table = report.locator("#runs-table")
    expect(table.locator("output")).to_have_text("40 of 40 runs")
    table.locator("input").fill("mse seed=3")
    expect(table.locator("tbody tr")).to_have_count(4)
    table.locator("input").fill("arm=ms")
    expect(table.locator("output")).to_have_text("0 of 40 runs")  # a pair is a whole value
    table.locator("input").fill("arm=mse seed=3")
    expect(table.locator("tbody tr")).to_have_count(4)
    table.get_by_role("button", name="validation accuracy").click()
    shown = [float(text) for text in table.locator("tbody tr td:nth-child(5)").all_inner_texts()]
    assert shown == sorted(shown)
    table.get_by_role("button", name="curve").first.click()
    expect(table.locator("[data-plot]")).to_be_visible()
    expect(table.locator(".opened")).to_contain_text("seed 3")


def test_values_stand_below_where_a_pointer_is(report):
    plot = report.locator("#sensitivity [data-plot] > div")
    plot.scroll_into_view_if_needed()
    box = plot.bounding_box()
    report.mouse.move(box["x"] + box["width"] - 20, box["y"] + box["height"] / 3)
    expect(plot.locator(".values")).to_contain_text("0.5mse")


def test_values_stand_below_where_a_finger_taps(browser, sweep):
    context = browser.new_context(viewport={"width": 390, "height": 844}, has_touch=True)
    page = context.new_page()
    page.goto((sweep / "comparison" / "comparison.html").as_uri())
    plot = page.locator("#sensitivity [data-plot] > div")
    plot.scroll_into_view_if_needed()
    box = plot.bounding_box()
    page.touchscreen.tap(box["x"] + box["width"] - 20, box["y"] + box["height"] / 3)
    expect(plot.locator(".values")).to_contain_text("0.5mse")
    context.close()


def test_a_command_is_copied(report):
    report.get_by_role("button", name="Copy").first.click()
    expect(report.get_by_role("button", name="Copied")).to_be_visible()


def test_without_scripts_the_still_figures_are_shown(browser, sweep):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto((sweep / "comparison" / "comparison.html").as_uri())
    expect(page.locator("#sensitivity svg")).to_be_visible()
    expect(page.locator("#runs-table")).to_be_hidden()
    context.close()
