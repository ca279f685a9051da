"""Pictures of the report and the dashboards: python -m tests.browser.screenshots logs/<sweep>"""

import argparse
import io
import sys
from collections.abc import Callable
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, expect

from runlab.extras.dashboard.aggregates import aggregates_folder
from runlab.runs import record
from tests.browser.chromium import chromium, watch
from tests.browser.server import tensorboard

WIDTH, HEIGHT = 1280, 880
COLORS = 256  # of a palette: a third of the bytes, and no difference to see
MAX_BYTES = 250_000  # bytes
FIGURES = ("sensitivity", "landscape")
"""Of the comparison, as they are."""

SHOWN_AXES = {"loss", "lr", "best/accuracy", "final/accuracy", "test/accuracy"}


def parallel_coordinates(page: Page) -> None:
    page.get_by_text("Parallel coordinates view").click()
    for box in page.locator("tf-hparams-query-pane .hparam-checkbox, .metric-checkbox").all():
        name = box.inner_text().strip()
        checked = box.get_attribute("checked") is not None
        if checked != (name in SHOWN_AXES):
            box.click()
    page.locator(".column", has_text="lr").get_by_text("Logarithmic").first.click()
    page.get_by_text("Hyperparameters", exact=True).scroll_into_view_if_needed()
    expect(page.locator("g.foreground path").first).to_be_visible()


def wait_for_bands(page: Page) -> None:
    expect(page.locator("tf-custom-scalar-margin-chart-card path.area").first).to_be_visible()


NUMBERED = {"1": ".facts", "2": ".cards", "3": "figure"}
"""What README explains of the report, by its numbers there."""

NUMBER = """(part, number) => {
    const place = part.getBoundingClientRect(), mark = document.createElement("b");
    mark.textContent = number;
    mark.style.cssText = `position: absolute; top: ${place.top + scrollY - 4}px; left: 36px;
        width: 30px; line-height: 30px; text-align: center; border-radius: 15px;
        background: #b4005a; color: white; font-family: sans-serif`;
    document.body.append(mark);
}"""


def number_parts(page: Page) -> None:
    for number, part in NUMBERED.items():
        page.locator(part).first.evaluate(NUMBER, number)


PICTURES: dict[str, tuple[str, str, Callable[[Page], None]]] = {
    "report": ("report", "", number_parts),
    "parallel_coordinates": ("runs", "#hparams", parallel_coordinates),
    "bands": ("means", "#custom_scalars", wait_for_bands),
}
"""By file name: the server and the tab that the picture begins at, and what is done there."""


def draw(sweep: Path, out: Path, width: int = WIDTH) -> list[Path]:
    """Writes the pictures and returns their paths.

    Raises:
        ValueError: if the sweep has no runs.
        OSError: if the comparison lacks a figure.
        RuntimeError: if a page logs an error, or a picture is too large for a README.
    """
    folder = aggregates_folder(sweep)
    arms = len([path for path in folder.iterdir() if path.is_dir()])
    figures = {name: sweep / "comparison" / f"{name}.png" for name in FIGURES}
    paths = [save(path.read_bytes(), out / f"{name}.png") for name, path in figures.items()]
    with (
        tensorboard(sweep, len(record.folders(sweep))) as runs,
        tensorboard(folder, arms) as means,
        chromium() as browser,
    ):
        report = (sweep / "comparison" / "comparison.html").absolute().as_uri()
        servers = {"report": report, "runs": runs, "means": means}
        for name, (server, tab, prepare) in PICTURES.items():
            page = browser.new_page(viewport={"width": width, "height": HEIGHT})
            problems = watch(page)
            page.goto(servers[server] + tab)
            prepare(page)
            page.wait_for_load_state("networkidle")
            page.wait_for_timeout(1500)  # transitions
            paths.append(save(page.screenshot(), out / f"{name}.png"))
            page.close()
            if problems:
                raise RuntimeError(f"{name}: {'; '.join(problems)}")
    return paths


def save(screenshot: bytes, path: Path) -> Path:
    Image.open(io.BytesIO(screenshot)).convert("RGB").quantize(COLORS).save(path, optimize=True)
    if path.stat().st_size > MAX_BYTES:
        raise RuntimeError(
            f"expected at most {MAX_BYTES} bytes in {path}, got {path.stat().st_size}"
        )
    return path


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sweep", type=Path, help="the folder of runs, such as logs/train")
    parser.add_argument("--out", type=Path, default=Path(".github"), help="[.github]")
    parser.add_argument("--width", type=int, default=WIDTH, help=f"pixels [{WIDTH}]")
    arguments = parser.parse_args()
    try:
        print(*draw(arguments.sweep, arguments.out, arguments.width), sep="\n")
    except (ValueError, OSError, RuntimeError, LookupError) as error:
        sys.exit(str(error))
