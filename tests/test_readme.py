"""Every `python scripts/…` and `tensorboard` command of the README, run where a user would run it.

The data set is tiny, the runs are short; an experiment has one seed and one learning rate, or two
trials.
The dashboard, which stays, has a test of its own. `.ci/run` runs the `make` targets.
"""

import re
import shlex
import urllib.request
from pathlib import Path

import pytest
from PIL import Image, ImageDraw

from tests.browser.server import get_json
from tests.commands import ROOT, Process
from tests.extras.dashboard.opened import opened
from tests.runs.kill import wait_until

COMMANDS = re.findall(r"^    ((?:python scripts/|tensorboard ).*?)(?:  +#.*)?$",
                      (ROOT / "README.md").read_text(), re.MULTILINE)  # fmt: skip
SCRIPTS = [shlex.split(command)[1:] for command in COMMANDS if command.startswith("python")]
FOCAL = "loss=focal"  # README's extension, which tests/test_extending.py launches


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    """A folder with the drawings that README classifies; the commands leave their runs in it."""
    folder = tmp_path_factory.mktemp("home")
    for name in ("four.png", "seven.jpg"):
        image = Image.new("L", (60, 80), 255)
        ImageDraw.Draw(image).line([(15, 15), (45, 15), (25, 65)], fill=0, width=6)
        image.save(folder / name)
    return folder


def shortened(script: str, arguments: list[str], tiny: list[str]) -> list[str]:
    """The arguments, and what makes of them a matter of seconds."""
    if script.endswith("train.py"):
        tiny = [*tiny, "trainer.max_epochs=1"]
        if "experiment=tune_learning_rate" in arguments:
            return [*arguments, *tiny, "hydra.sweeper.n_trials=2"]
        if any("experiment=" in argument for argument in arguments):
            return [*arguments, *tiny, "seed=0", "optimizer.lr=0.1", "hydra/launcher=basic"]
        if "name=first" in arguments or "name=again" in arguments:
            arguments = [re.sub("^seed=.*", "seed=0", argument) for argument in arguments]
        elif "name=second" in arguments:  # which grows by seeds, and is compared each time
            arguments = [*arguments, "comparison.sections=[]", "comparison.outputs=[]"]
        return [*arguments, *tiny]
    if script.endswith("evaluate.py"):
        return [*arguments, tiny[0]]
    if script.endswith("landscape.py"):
        return [*arguments, "--points", "9"]
    if script.endswith("benchmark.py"):
        few = ["rounds=1", "steps=4", "data.steps_per_execution=4", "stacks=[1,2]"]
        return [*arguments, *few, "startups=0", "memory=false", "random_samples=true"]
    return arguments


def test_the_readme_shows_every_script():
    shown = {script for script, *_ in SCRIPTS}
    assert shown == {f"scripts/{path.name}" for path in (ROOT / "scripts").glob("*.py")}


@pytest.mark.long
def test_every_command_works_in_the_readmes_order(home, tiny, commands):
    for script, *arguments in SCRIPTS:
        if any(FOCAL in argument for argument in arguments) or script.endswith("dashboard.py"):
            continue
        arguments = [named_as_here(argument, home) for argument in arguments]
        done = commands.run(home, script, *shortened(script, arguments, tiny))
        assert done.returncode == 0, done.stderr
        assert done.stdout, f"{script} {' '.join(arguments)} printed nothing"
    assert (home / "prediction.png").stat().st_size > 0
    assert (home / "scaling.png").stat().st_size > 0
    assert (home / "logs" / "mse_vs_cross_entropy" / "comparison" / "sensitivity.png").exists()


def named_as_here(argument: str, home: Path) -> str:
    """What shortens a run is in its name too, so the README's runs lie elsewhere."""
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
    [sweeps] = [arguments for script, *arguments in SCRIPTS if script.endswith("dashboard.py")]
    with opened(commands, *sweeps, home=home) as (_, links):
        for link in links.values():
            with urllib.request.urlopen(link) as page:
                assert page.status == 200
