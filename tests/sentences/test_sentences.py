"""Each mistake on a command line gets one clear sentence, ends with a code, and loses nothing.

The tables beside this file hold them by kind: a command, and below it a part of its sentence. In a
command `{run}` stands for a run's folder and `{checkpoint}` for a file in it. Training is on a tiny
MNIST, unless the command chooses its data.

What is found before a run begins leaves the folder as it was, but for an empty log file. What only
training can show (`training.txt`) leaves the run, recorded as failed. A mark `*` is for the tables'
most telling lines, which are always run.
"""

import json
import runpy
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tests.compose import ROOT
from tests.sentences import world

TABLES = sorted(Path(__file__).parent.glob("*.txt"))
RUN = "logs/small/loss=mse,lr=0.1,seed=0"
LONGEST = 330  # characters: four lines of a terminal
COMMON = {"train": world.TINY, "benchmark": world.TINY[:-2]}


def cases() -> Iterator[object]:
    for table in TABLES:
        lines = [line for line in table.read_text("utf-8").splitlines() if line and line[0] != "#"]
        for command, sentence in zip(lines[::2], lines[1::2], strict=True):
            assert sentence.startswith("    "), f"{table.name}: expected a sentence, got {sentence}"
            marks = [] if command.startswith("*") else [pytest.mark.long]
            name, part = command.lstrip("*"), sentence.strip()
            yield pytest.param(name, part, table.stem == "training", marks=marks, id=name)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sentences")
    world.build(folder)
    return folder


@pytest.fixture(scope="module")
def swept(folder: Path) -> Path:
    world.write_sweep(folder)
    return folder


def typed(command: str) -> list[str]:
    """The command's words, those of `COMMON` among them where its own do not take their place."""
    place = {"{run}": RUN, "{checkpoint}": f"{RUN}/checkpoints/best.ckpt"}
    for name, value in place.items():
        command = command.replace(name, value)
    script, *own = shlex.split(command)
    groups = {each.lstrip("~+").partition("=")[0] for each in own}
    common = () if groups & {"-cn", "-cp", "--config-name"} else COMMON.get(script, ())
    kept = [
        each
        for each in common
        if not groups & {each.partition(".")[0].partition("=")[0], each.partition("=")[0]}
    ]
    return [script, *(each for each in own if each == "-m"), *kept,
            *(each for each in own if each != "-m")]  # fmt: skip


def snapshot(folder: Path) -> dict[str, bytes | None]:
    """What lies in the folder, but for empty logs and folders."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in files
        if path.suffix not in (".log", ".lock") or path.stat().st_size
    }


def ended(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> int | str | None:
    """How the command ends, in this process."""
    script = ROOT / "scripts" / f"{arguments[0]}.py"
    monkeypatch.setattr(sys, "argv", [str(script), *arguments[1:]])
    with pytest.raises(SystemExit) as exit_:
        runpy.run_path(str(script), run_name="__main__")
    return exit_.value.code


@pytest.mark.parametrize(("command", "part", "trains"), list(cases()))
def test_a_mistake_gets_one_clear_sentence(
    folder, request, command, part, trains, monkeypatch, capfd
):
    if any(each in command for each in world.SWEPT):
        request.getfixturevalue("swept")
    if "accelerator" in part and torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    capfd.readouterr()
    monkeypatch.chdir(folder)
    before = snapshot(folder)
    code = ended(typed(command), monkeypatch)
    said = capfd.readouterr().err + (code if isinstance(code, str) else "")
    assert code not in (0, None)
    assert part in said
    assert "Traceback" not in said
    [sentence] = [line for line in said.splitlines() if part in line]
    assert len(sentence.replace(str(folder), "")) <= LONGEST
    after = snapshot(folder)
    assert {name: after.get(name) for name in before} == before
    new = sorted(after.keys() - before.keys())
    if trains:
        [record] = [folder / name for name in new if name.endswith("/run.json")]
        assert json.loads(record.read_text())["status"] == "failed"
    else:
        assert new == []


def test_there_are_three_hundred_of_all_commands():
    commands = [shlex.split(case.values[0])[0] for case in cases()]  # type: ignore[attr-defined]
    assert len(commands) >= 300
    assert set(commands) == {path.stem for path in (ROOT / "scripts").glob("*.py")}
    assert len({case.id for case in cases()}) == len(commands)  # type: ignore[attr-defined]
