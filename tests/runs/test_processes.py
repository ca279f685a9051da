"""Runs on several devices: their processes end with them, and multiruns go on after a kill."""

import os
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from runlab.runs import alike
from runlab.runs.processes import VARIABLES
from runlab.train import train
from tests.compose import compose
from tests.runs import kill
from tests.runs.test_resume import assert_same

EPOCHS = 12
LONGEST = 300.0
"""Seconds: each process imports everything, on cores that other tests share."""


@pytest.fixture(scope="module")
def sweep(tiny) -> list[str]:
    """Two runs, each in two processes."""
    few = ["logger=tensorboard", "callback=[checkpoint,curves,predictions]"]
    return [
        "-m", *tiny, *few, "trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2",
        "seed=0,1", f"trainer.max_epochs={EPOCHS}", "name=ddp",
    ]  # fmt: skip


@pytest.fixture(scope="module")
def unstopped(sweep, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("unstopped")
    process = kill.start(folder, sweep)
    assert process.wait(LONGEST) == 0, (folder / "output.txt").read_text()
    return folder


@pytest.fixture
def started(tmp_path, sweep) -> Iterator[subprocess.Popen[bytes]]:
    process = kill.start(tmp_path, sweep)
    yield process
    kill.end(process)


def entries(folder: Path) -> dict[str, dict]:
    found = alike.readable(folder / "logs" / "ddp")
    return {path.name.partition(",data")[0]: entry for path, entry in found}


def has_begun(folder: Path, runs: int, epochs: int) -> bool:
    """Whether that many runs have begun, the last of them with so many epochs."""
    trained = sorted(e["metrics"].get("epochs", 0) for e in entries(folder).values())
    return len(trained) == runs and trained[0] >= epochs


def members(session: int) -> list[int]:
    """The processes of a session that have not ended."""
    found = subprocess.run(
        ["ps", "-o", "pid=,stat=", "-s", str(session)], capture_output=True, text=True, check=False
    )
    rows = [line.split() for line in found.stdout.splitlines()]
    return [int(pid) for pid, state in rows if not state.startswith("Z")]


@pytest.mark.long
def test_a_multirun_trains_each_run_in_two_processes(unstopped):
    output, runs = (unstopped / "output.txt").read_text(), entries(unstopped)
    assert [entry["status"] for entry in runs.values()] == ["finished"] * 2
    for entry in runs.values():
        assert entry["metrics"]["epochs"] == EPOCHS
        assert entry["metrics"]["test/samples"] == 50
        assert entry["metrics"]["val/samples"] == 40
    for number in (1, 2):
        assert output.count(f"[{number}/2] ") == 1, output
    assert output.count("comparison.html") == 1, "one process concludes"
    assert not re.search("Warning:|Initializing|Traceback", output), output
    assert (unstopped / "logs" / "ddp" / "comparison" / "comparison.html").exists()


@pytest.mark.long
def test_a_multirun_that_was_stopped_goes_on(started, tmp_path, sweep, unstopped):
    """By one signal within its first run and, launched again, by another within its second."""
    process = started
    for runs, number in ((1, signal.SIGKILL), (2, signal.SIGTERM)):
        kill.wait_until(lambda runs=runs: has_begun(tmp_path, runs, epochs=1), LONGEST)
        assert len(members(process.pid)) >= 2
        os.kill(process.pid, number)
        process.wait(60)
        kill.wait_until(lambda pid=process.pid: not members(pid), seconds=20)
        process = kill.start(tmp_path, sweep)
    try:
        assert process.wait(LONGEST) == 0, (tmp_path / "output.txt").read_text()
    finally:
        kill.end(process)
    assert "goes on after epoch" in (tmp_path / "output.txt").read_text()
    runs = sorted((tmp_path / "logs" / "ddp").glob("*/run.json"))
    assert len(runs) == 2
    for path in runs:
        assert_same(path.parent, unstopped / "logs" / "ddp" / path.parent.name)


@pytest.mark.long
def test_a_process_that_ends_before_the_run_begins_is_one_sentence(tmp_path, commands, tiny):
    broken = "+callback.broken._target_=tests.runs.test_processes.Broken"
    done = commands.run(
        tmp_path, "scripts/train.py", *tiny, "trainer=ddp_sim", broken, "name=ddp", timeout=LONGEST
    )
    assert done.returncode == 1
    assert "got one that ended before it began (exit code 1)" in " ".join(done.stderr.split())
    assert "broken elsewhere" in done.stderr
    assert [entry["status"] for entry in entries(tmp_path).values()] == ["failed"]


class Broken:
    """A callback that only the first process can build."""

    def __new__(cls):
        if os.environ.get("LOCAL_RANK", "0") != "0":
            raise RuntimeError("broken elsewhere")
        import lightning as L

        return L.Callback()


@pytest.mark.long
def test_runs_on_several_devices_are_refused_in_a_stack(tmp_path, commands, tiny):
    sweep = ["-m", *tiny, "trainer=ddp_sim", "seed=0,1", "name=ddp", "hydra/launcher=stacked"]
    done = commands.run(tmp_path, "scripts/train.py", *sweep)
    assert done.returncode == 1
    assert "launch the sweep by hydra/launcher=basic" in done.stdout + done.stderr


@pytest.mark.parametrize("strategy", ["ddp_spawn", "ddp_fork"])
def test_processes_for_each_fit_alone_are_refused(strategy, tmp_path, tiny):
    overrides = [*tiny, "trainer=ddp_sim", f"trainer.strategy={strategy}"]
    with pytest.raises(ValueError, match=r"expected trainer\.strategy=ddp for a run on several"):
        train(compose(*overrides, folder=tmp_path))
    assert not [name for name in VARIABLES if name in os.environ]
