"""README and the pages of docs: their commands, run where a user would run them, and their links.

The data set is tiny, the runs are short; an experiment has one seed and one learning rate, or two
trials. The dashboard, which stays, has a test of its own. `.ci/run` runs the `make` targets, and
`test_extending.py` the commands of docs/contract.md, docs/components.md and docs/lightning.md.
"""

import re
import shlex
import shutil
import subprocess
import urllib.request
from pathlib import Path

import pytest
from PIL import Image, ImageDraw

from losslab.__main__ import COMMANDS as COMMAND_GROUPS
from tests.browser.server import get_json
from tests.commands import ROOT, Process
from tests.extras.dashboard.opened import opened
from tests.runs.kill import wait_until

README = ROOT / "README.md"
PAGES = [README, *sorted((ROOT / "docs").glob("*.md"))]
IN_ORDER = ("launch", "resume", "comparison", "dashboard", "search", "predict", "speed")
"""README and these pages are read, and their commands run, from top to bottom."""

PROGRAMS = ("losslab", "make", "pip", "python", "source", "tensorboard")
FOCAL = "loss=focal"  # README's extension, which tests/test_extending.py launches
MOST_WORDS = 900


def commands_of(page: Path) -> list[str]:
    """The lines of its shell blocks that begin with a program."""
    blocks = re.findall(r"^```bash\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines()]
    return [line for line in lines if re.match(rf"(\w+=\S+ )?({'|'.join(PROGRAMS)}) ", line)]


READ = [README, *(ROOT / "docs" / f"{name}.md" for name in IN_ORDER)]
COMMANDS = [command for page in READ for command in commands_of(page)]
LOSSLAB = [shlex.split(each)[1:] for each in COMMANDS if each.startswith("losslab ")]


def test_the_readme_is_short():
    assert len(README.read_text().split()) < MOST_WORDS


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        file, _, heading = target.partition("#")
        if file.startswith("https:"):
            continue
        linked = (page.parent / file).resolve() if file else page
        assert linked.exists(), target
        if heading:
            headings = re.findall(r"^#+ (.*)$", linked.read_text(), re.MULTILINE)
            assert heading in {
                re.sub(r"[^\w -]", "", h).lower().replace(" ", "-") for h in headings
            }


def test_readme_leads_to_every_page():
    linked = re.findall(r"\]\((docs/[^)#\s]+)", README.read_text())
    assert {ROOT / path for path in linked} == set(PAGES) - {README}


@pytest.mark.parametrize("shell", ["bash", pytest.param("zsh", marks=pytest.mark.zsh)])
def test_every_command_can_be_pasted(shell, tmp_path):
    """The shell passes on what stands there: no brackets to match, no comment to drop."""
    commands = [command for page in PAGES for command in commands_of(page)]
    assert len(commands) > 20
    program = shutil.which(shell)
    assert program is not None, f"expected {shell} to be installed"
    functions = "".join(f"{name}() {{ printf '%s\\n' \"$@\"; }}\n" for name in PROGRAMS)
    for command in commands:
        script = f"{functions}{command}\n"
        options = ["--norc"] if shell == "bash" else ["-f"]
        done = subprocess.run(
            [program, *options, "-c", script], cwd=tmp_path, capture_output=True, text=True
        )
        expected = shlex.split(command, comments=False)
        expected = expected[1 + ("=" in expected[0]) :]
        assert done.stdout.splitlines() == expected, f"{command}\n{done.stderr}"


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    """A folder with the drawings that docs classify; the commands leave their runs in it."""
    folder = tmp_path_factory.mktemp("home")
    for name in ("four.png", "seven.jpg"):
        image = Image.new("L", (60, 80), 255)
        ImageDraw.Draw(image).line([(15, 15), (45, 15), (25, 65)], fill=0, width=6)
        image.save(folder / name)
    return folder


def shortened(command: str, arguments: list[str], tiny: list[str]) -> list[str]:
    """The arguments, and what makes of them a matter of seconds."""
    if command == "train":
        tiny = [*tiny, "trainer.max_epochs=1"]
        if "experiment=tune_learning_rate" in arguments:
            return [*arguments, *tiny, "hydra.sweeper.n_trials=2"]
        if any("experiment=" in argument for argument in arguments):
            return [*arguments, *tiny, "seed=0", "optimizer.lr=0.1", "hydra/launcher=basic"]
        if "name=first" in arguments:
            arguments = [re.sub("^seed=.*", "seed=0", argument) for argument in arguments]
        if "name=third" in arguments:  # which grows by seeds, and is compared each time
            arguments = [*arguments, "comparison.sections=[]", "comparison.outputs=[]"]
        return [*arguments, *tiny]
    if command == "evaluate":
        return [*arguments, tiny[0]]
    if command == "landscape":
        return [*arguments, "--points", "9"]
    if command == "benchmark":
        few = ["rounds=1", "steps=4", "data.steps_per_execution=4", "stacks=[1,2]"]
        return [*arguments, *few, "startups=0", "memory=false", "random_samples=true"]
    return arguments


def test_the_pages_show_every_command():
    known = {each.name for group in COMMAND_GROUPS.values() for each in group}
    shown = {command for command, *_ in LOSSLAB}
    assert shown == known - {"completion"}, "which is for a shell's own file"


@pytest.mark.long
def test_every_command_works_in_the_pages_order(home, tiny, commands):
    for command, *arguments in LOSSLAB:
        if any(FOCAL in argument for argument in arguments) or command == "dashboard":
            continue
        arguments = [named_as_here(argument, home) for argument in arguments]
        arguments = shortened(command, arguments, tiny)
        done = commands.run(home, "-m", "losslab", command, *arguments)
        assert done.returncode == 0, done.stderr
        assert done.stdout, f"{command} {' '.join(arguments)} printed nothing"
    assert (home / "prediction.png").stat().st_size > 0
    assert (home / "scaling.png").stat().st_size > 0
    assert (home / "logs" / "mse_vs_cross_entropy" / "comparison" / "sensitivity.png").exists()


def named_as_here(argument: str, home: Path) -> str:
    """What shortens a run is in its name too, so the pages' runs lie elsewhere."""
    found = re.fullmatch(r"(checkpoint=)?(logs/[^/]+/loss=[^/]+)(/.*)?", argument)
    if found is None:
        return argument
    key, run, file = found.groups(default="")
    [folder] = home.glob(f"{run},*")
    return f"{key}{folder}{file}"


@pytest.mark.long
def test_tensorboard_shows_runs_by_their_readable_names(home, commands):
    [command] = [command for command in COMMANDS if command.startswith("tensorboard")]
    options = ["--host", "127.0.0.1", "--port", "0", "--load_fast", "false"]
    server = commands.start(home, "-m", "tensorboard.main", *shlex.split(command)[1:], *options)
    try:
        wait_until(lambda: address(server) is not None)
        wait_until(lambda: get_json(f"{address(server)}data/runs") != [])
        names = get_json(f"{address(server)}data/runs")
    finally:
        server.end()
    assert any(name.startswith("loss=mse_logits,lr=0.1,seed=0") for name in names)


def address(server: Process) -> str | None:
    found = re.search(r"http://127\.\S+", server.errors.read_text())
    return found and found.group(0)


@pytest.mark.long
def test_the_dashboard_links_to_a_sweep(home, commands):
    sweeps = next(arguments for command, *arguments in LOSSLAB if command == "dashboard")
    with opened(commands, *sweeps, home=home) as (_, links):
        for link in links.values():
            with urllib.request.urlopen(link) as page:
                assert page.status == 200
