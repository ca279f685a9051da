"""README's example of an extension, copied from it and launched as a user would."""

import os
import re
import subprocess
import sys

from tests.compose import CONF

ROOT = CONF.parent


def blocks() -> dict[str, str]:
    """The README's code blocks whose first line names a file, by that name."""
    found = re.findall(
        r"```(?:python|yaml)\n# (\S+\.(?:py|yaml))\n(.*?)```",
        (ROOT / "README.md").read_text(),
        re.DOTALL,
    )
    return dict(found)


def test_the_readmes_new_loss_is_one_python_file_and_one_yaml_file(tmp_path, tiny):
    files = blocks()
    assert sorted(path.rsplit(".", 1)[1] for path in files) == ["py", "yaml"]
    # a copy of the package, so that the example lies where the README says
    for folder in ("src", "conf", "scripts", "tests"):
        (tmp_path / folder).mkdir()
        subprocess.run(["cp", "-r", f"{ROOT / folder}/.", tmp_path / folder], check=True)
    for path, content in files.items():
        (tmp_path / path).write_text(content)
    environment = os.environ | {"PYTHONPATH": str(tmp_path / "src")}
    [choice] = [path.rsplit("/", 1)[1].removesuffix(".yaml") for path in files if "conf/" in path]
    train = [sys.executable, "scripts/train.py", *tiny, f"loss={choice}"]
    done = subprocess.run(train, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "test " in done.stdout
    contracts = [
        sys.executable,
        "-m",
        "pytest",
        "tests/test_contracts.py",
        "-k",
        choice,
        "-p",
        "no:cacheprovider",
    ]
    done = subprocess.run(contracts, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    assert " passed" in done.stdout


def test_a_component_without_a_yaml_file_fails_the_contracts(tmp_path):
    for folder in ("src", "conf", "tests"):
        (tmp_path / folder).mkdir()
        subprocess.run(["cp", "-r", f"{ROOT / folder}/.", tmp_path / folder], check=True)
    (tmp_path / "src" / "losslab" / "losses" / "hinge.py").write_text("class Hinge:\n    pass\n")
    environment = os.environ | {"PYTHONPATH": str(tmp_path / "src")}
    contracts = [sys.executable, "-m", "pytest", "tests/test_contracts.py", "-k", "component"]
    done = subprocess.run(contracts, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 1
    assert "losses/hinge.py needs conf/loss/hinge.yaml" in done.stdout
