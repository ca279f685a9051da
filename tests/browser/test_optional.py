"""The dashboards of callbacks that are off by default: histograms, PR curves, graph, projector."""

import pytest
from playwright.sync_api import expect

from tests.browser.server import tensorboard

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def optional_url(train, tmp_path_factory):
    """The address of TensorBoard over two runs with every callback that it has a tab for."""
    folder = tmp_path_factory.mktemp("logs") / "optional_url"
    callbacks = "callback=[default,histograms,pr_curves,graph,projector]"
    train("loss=mse,cross_entropy", "model=linear", "trainer.max_epochs=1", callbacks, to=folder)
    with tensorboard(folder, 2) as url:
        yield url


def test_histograms_of_weights_and_gradients(open_tab, optional_url):
    page = open_tab(optional_url, "histograms")
    expect(page.locator("button.heading")).to_have_count(2)
    assert page.locator("button.heading .category-name").all_inner_texts() == [
        "gradients",
        "weights",
    ]
    charts = page.locator("vz-histogram-timeseries")
    expect(charts.first.locator("g.histogram path.outline")).to_have_count(1)
    assert charts.first.locator("path.outline").get_attribute("d").count("L") > 20


def test_pr_curves_of_each_class(open_tab, optional_url):
    page = open_tab(optional_url, "pr_curves")
    expect(page.locator("button.heading .category-name")).to_have_text(["pr"])
    card = page.locator("tf-pr-curve-card").first
    expect(card.locator(".legend-row")).to_have_count(2)
    expect(card.locator("path.line")).to_have_count(2)


def test_graph_of_the_network(open_tab, optional_url):
    page = open_tab(optional_url, "graphs")
    expect(page.locator("tf-graph-scene g.node.meta").first).to_be_visible()
    labels = " ".join(page.locator("tf-graph-scene g.node.meta").all_text_contents())
    assert all(name in labels for name in ("input", "output", "Linear"))


def test_projector_of_validation_images(open_tab, optional_url):
    page = open_tab(optional_url, "projector").frame_locator("iframe").frame_locator("iframe")
    expect(page.locator(".numDataPoints")).to_have_text("1000")
    expect(page.locator("canvas").first).to_be_visible()
