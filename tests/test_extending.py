"""README's example of an extension, copied from it and launched as a user would."""

import re
import shutil
from pathlib import Path

import pytest

from tests.commands import ROOT

# the test's own process has imported what the copied tests would rewrite
PYTEST = ["-m", "pytest", "-p", "no:cacheprovider", "-W", "ignore::pytest.PytestWarning"]
CONTRACTS = [*PYTEST, "tests/test_contracts.py", "-k"]


def blocks() -> dict[str, str]:
    """The README's code blocks whose first line names a file, by that name."""
    found = re.findall(
        r"```(?:python|yaml)\n# (\S+\.(?:py|yaml))\n(.*?)```",
        (ROOT / "README.md").read_text(),
        re.DOTALL,
    )
    return dict(found)


@pytest.fixture
def copy(tmp_path) -> Path:
    """The project, so that the example lies where the README says."""
    for folder in ("src", "conf", "scripts", "tests"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def test_the_readmes_new_loss_is_one_python_file_and_one_yaml_file(copy, commands, tiny):
    files = blocks()
    assert sorted(path.rsplit(".", 1)[1] for path in files) == ["py", "yaml"]
    for path, content in files.items():
        (copy / path).write_text(content)
    [choice] = [Path(path).stem for path in files if "conf/" in path]
    done = commands.run(copy, "scripts/train.py", *tiny, f"loss={choice}", root=copy)
    assert done.returncode == 0, done.stderr
    assert "test " in done.stdout
    done = commands.run(copy, *CONTRACTS, choice, root=copy)
    assert done.returncode == 0, done.stdout
    assert " passed" in done.stdout


def test_a_component_without_a_yaml_file_fails_the_contracts(copy, commands):
    (copy / "src" / "losslab" / "losses" / "hinge.py").write_text("class Hinge:\n    pass\n")
    done = commands.run(copy, *CONTRACTS, "component", root=copy)
    assert done.returncode == 1
    assert "losses/hinge.py needs conf/loss/hinge.yaml" in done.stdout
