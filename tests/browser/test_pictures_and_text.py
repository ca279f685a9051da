"""Images and Text of the sweep's runs."""

import pytest
from playwright.sync_api import expect

pytestmark = pytest.mark.browser
PICTURES = {"confusion": 40, "digits": 80, "weights": 40}  # tags' first part: pictures


def test_every_run_has_its_pictures(look, forty):
    page = look(forty, "images")
    headings = page.locator("button.heading")
    expect(headings).to_have_count(len(PICTURES))
    names = headings.locator(".category-name").all_inner_texts()
    counts = map(int, headings.locator(".count").all_inner_texts())
    assert dict(zip(names, counts, strict=True)) == PICTURES


def test_a_picture_is_drawn_at_its_last_step(look, forty, records):
    run = next(iter(records))
    page = look(forty, "images")
    page.locator("tf-tag-filterer input").fill("^digits/fixed$")
    page.locator("tf-runs-selector input").fill(f"^{run}$")
    card = page.locator("tf-image-loader")
    expect(card).to_have_count(1)
    expect(card).to_contain_text("1,718")
    expect(card.locator("img")).to_be_visible()
    width = card.locator("img").evaluate("image => image.decode().then(() => image.naturalWidth)")
    assert width > 100
