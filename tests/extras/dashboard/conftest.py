import pytest


@pytest.fixture
def _no_figures(monkeypatch):
    """They take most of the time of a comparison, and few tests look at them."""
    monkeypatch.setattr("runlab.analysis.write.draw_figures", lambda comparison, sections: {})
