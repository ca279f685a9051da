"""The landscape in a comparison: shown while it is of the runs that are compared."""

import json
from pathlib import Path

import pytest

from runlab.analysis.compare import compare
from runlab.analysis.comparison import Comparison
from runlab.analysis.write import figure_names, write
from tests.analysis.synthetic import write_run

SECTION = "runlab.extras.landscape.section.LandscapeSection"
HOW = "Not drawn for these runs. `losslab landscape"


def write_sweep(sweep: Path) -> Path:
    for loss in ("mse", "cross_entropy"):
        write_run(sweep, loss, 0.1, 0, comparison={"sections": [SECTION]})
    return sweep


def draw(sweep: Path, **changes: object) -> None:
    """As scripts/landscape.py leaves it."""
    folder = sweep / "comparison"
    folder.mkdir(exist_ok=True)
    about = {
        "runs": ["loss=mse,lr=0.1,seed=0", "loss=cross_entropy,lr=0.1,seed=0"],
        "fingerprints": ["00", "00"],
        "caption": "Both losses on the plane, & their paths.",
    } | changes
    (folder / "landscape.json").write_text(json.dumps(about))
    (folder / "landscape.svg").write_text('<svg width="1" height="1"><g id="a"/></svg>')


def texts(comparison: Comparison) -> tuple[str, str]:
    folder = write(comparison)
    return (folder / "comparison.html").read_text(), (folder / "comparison.md").read_text()


def test_a_landscape_of_these_runs_is_shown_with_its_caption(tmp_path: Path) -> None:
    draw(write_sweep(tmp_path))
    comparison = compare(tmp_path)
    assert not any("left out" in warning for warning in comparison.warnings)
    page, text = texts(comparison)
    assert '<figure id="landscape">' in page
    assert "Both losses on the plane, &amp; their paths." in page
    assert "## Loss landscape\n\nBoth losses on the plane, & their paths." in text
    assert "](landscape.svg)" in text
    assert HOW not in text
    assert figure_names(comparison)[-1] == "landscape"


@pytest.mark.long
@pytest.mark.parametrize(
    "changes",
    [
        {"fingerprints": ["00", "another"]},
        {"runs": ["gone", "loss=mse,lr=0.1,seed=0"]},
        {"runs": None},
        {"fingerprints": ["00"]},
    ],
)
def test_a_landscape_of_other_runs_is_not_shown_but_how_to_draw_one(
    tmp_path: Path, changes: dict[str, object]
) -> None:
    draw(write_sweep(tmp_path), **changes)
    page, text = texts(compare(tmp_path))
    assert '<figure id="landscape">' not in page
    assert "<code>losslab landscape" in page
    assert HOW in text
    assert (tmp_path / "comparison" / "landscape.svg").exists()


@pytest.mark.long
@pytest.mark.parametrize("file", ["landscape.svg", "landscape.json"])
def test_half_a_landscape_is_not_shown(tmp_path: Path, file: str) -> None:
    draw(write_sweep(tmp_path))
    path = tmp_path / "comparison" / file
    path.write_text(path.read_text()[:-3])
    page, text = texts(compare(tmp_path))
    assert '<figure id="landscape">' not in page
    assert HOW in text


def test_neither_picture_nor_caption_from_elsewhere_is_live(tmp_path: Path) -> None:
    draw(write_sweep(tmp_path), caption="<script>a()</script> ![b](c) `d`")
    path = tmp_path / "comparison" / "landscape.svg"
    path.write_text('<svg onload="a()"><script>a()</script></svg>')
    page, text = texts(compare(tmp_path))
    assert '<figure id="landscape">' in page
    assert page.count("<script") == 3  # the page's own
    assert "onload" not in page
    assert "&lt;script&gt;a()&lt;/script&gt; ![b](c) `d`" in page
    assert r"&lt;script>a()&lt;/script> ![b]\(c) \`d\`" in text


@pytest.mark.long
def test_without_a_landscape_the_command_names_the_sweep(tmp_path: Path) -> None:
    for sweep in (write_sweep(tmp_path / "logs" / "mine"), write_sweep(tmp_path / "mine")):
        shown = "logs/mine" if sweep.parent.name == "logs" else str(sweep)
        assert f"`losslab landscape {shown}`" in texts(compare(sweep))[1]
