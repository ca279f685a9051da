"""Images and Text of the sweep's runs."""

import pytest
from playwright.sync_api import expect

pytestmark = pytest.mark.browser
PICTURES = {"errors": 40, "samples": 80, "weights": 40}  # tags' first part: pictures


def test_every_run_has_its_pictures(open_tab, sweep_url):
    page = open_tab(sweep_url, "images")
    headings = page.locator("button.heading")
    expect(headings).to_have_count(len(PICTURES))
    names = headings.locator(".category-name").all_inner_texts()
    counts = map(int, headings.locator(".count").all_inner_texts())
    assert [*zip(names, counts, strict=True)] == [*PICTURES.items()]


def test_a_picture_is_drawn_at_its_last_step(open_tab, sweep_url, records):
    run = next(iter(records))
    page = open_tab(sweep_url, "images")
    page.locator("tf-tag-filterer input").fill("^samples/fixed$")
    page.locator("tf-runs-selector input").fill(f"^{run}$")
    card = page.locator("tf-image-loader", has_text="tag: samples/fixed").first
    expect(card).to_contain_text(run)
    expect(card).to_contain_text("1,718")
    expect(card.locator("img")).to_be_visible()
    width = card.locator("img").evaluate("image => image.decode().then(() => image.naturalWidth)")
    assert width > 100


def test_every_run_tells_its_command_and_configuration(open_tab, sweep_url, records):
    run = "loss=mse,lr=0.1,seed=0,max_epochs=2"
    page = open_tab(sweep_url, "text")
    page.locator("tf-runs-selector input").fill(f"^{run}$")
    cards = page.locator("tf-text-loader")
    expect(cards).to_have_count(4)
    command = cards.filter(has_text="tag: run/command")
    for override in ("loss=mse", "optimizer.lr=0.1", "seed=0", "trainer.max_epochs=2"):
        expect(command).to_contain_text(override)
    expect(cards.filter(has_text="tag: run/configuration")).to_contain_text("losslab.losses.MSE")
    revision = records[run]["provenance"]["git"]["revision"]
    expect(cards.filter(has_text="tag: run/provenance")).to_contain_text(revision)
