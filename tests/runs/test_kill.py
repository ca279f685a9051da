"""A sweep that was killed at whatever moment ends, launched again, as one that was not.

The long form, in processes started as a user starts them: pytest -m long tests/test_kill.py
"""

import os
import re
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import cycle, islice
from pathlib import Path
from random import Random

import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from runlab.runs import record
from runlab.sweeps.run_status import read_status
from tests.commands import Commands
from tests.runs import kill
from tests.runs.kill import Kill, Launch
from tests.runs.test_resume import assert_same

SEED = 0
# all that a run has to take up again: weights, momentum, a schedule, generators for dropout
MODEL = [
    "model=cnn", "model.widths=[8]", "model.dropout=0.3", "optimizer.momentum=0.9",
    "optimizer.lr=0.001", "scheduler=cosine",
]  # fmt: skip
MOMENTS = [
    (r"open .*/checkpoints/", 100_000),
    (r"open .*run\.json", 3_000),
    (r"open .*/events\.out", 0),
    (r"os\.rename", 0),
    (r"", 0),
]
"""Changes at which a sweep dies, and in the middle of how many bytes that it then writes."""


@pytest.fixture(scope="module")
def command(tiny) -> list[str]:
    return ["-m", *tiny, *MODEL, "loss=mse,cross_entropy", "trainer.max_epochs=4", "name=grid"]


@pytest.fixture(scope="module")
def unstopped(commands, command, tmp_path_factory) -> tuple[Path, Launch]:
    return launched(commands, command, tmp_path_factory.mktemp("unstopped"))


def launched(commands: Commands, command: list[str], folder: Path) -> tuple[Path, Launch]:
    launch = kill.launch(commands, folder, command)
    assert launch.code == 0, launch.output
    return folder, launch


def kills(changes: Sequence[str], count: int) -> list[Kill]:
    """So many, each soon enough for all of them to happen before the sweep ends."""
    random = Random(SEED)
    chosen = []
    for moment, largest in islice(cycle(MOMENTS), count):
        there = sum(re.search(moment, change) is not None for change in changes)
        size = random.randrange(largest) if largest else None
        chosen.append(Kill(random.randint(1, 1 + 3 * there // (2 * count)), moment, size))
    return chosen


def finish(
    commands: Commands, folder: Path, command: list[str], kills: Sequence[Kill]
) -> list[Launch]:
    """Launches the sweep with each kill, and then once without, until it ends by itself."""
    launches: list[Launch] = []
    for each in [*kills, Kill()]:
        launches.append(kill.launch(commands, folder, command, each))
        if not launches[-1].killed:
            break
    return launches


def assert_same_sweep(folder: Path, reference: Path) -> None:
    sweep, other = (each / "logs" / "grid" for each in (folder, reference))
    assert files(sweep) == files(other)
    for run in sweep.glob("*/run.json"):
        assert_same(run.parent, other / run.parent.name)
    for name in ("cells.csv", "curves.csv", "differences.csv", "runs.csv"):
        assert_frame_equal(table(sweep, name), table(other, name), check_exact=True)


def files(sweep: Path) -> set[str]:
    """All files and folders, whatever number of event files a run has."""
    names = {str(path.relative_to(sweep)) for path in sweep.rglob("*")}
    return {re.sub(r"events\.out\.tfevents\..*", "events", name) for name in names}


def table(sweep: Path, name: str) -> pd.DataFrame:
    """Without what tells of the machine's time, and of the checkout, which may change meanwhile."""
    content = pd.read_csv(sweep / "comparison" / name)
    clock = [column for column in content if column.startswith("timing/")]
    clock += ["seconds", "samples_per_second", "revision", "dirty"]
    return content.drop(columns=clock, errors="ignore")


def ends(outputs: Sequence[str]) -> Counter[str]:
    """How often each run was said to have ended."""
    return Counter(re.findall(r"^\[\d+/\d+\] (\S+): (?:diverged, )?val ", "\n".join(outputs), re.M))


def assert_went_on(outputs: Sequence[str]) -> None:
    """Runs went on, nothing was found damaged, and none ended twice."""
    said = "\n".join(outputs)
    assert "goes on after epoch" in said
    assert not re.search("cannot go on|unreadable|Traceback|Warning:", said), said
    assert max(ends(outputs).values()) == 1, said


def assert_same_in_the_end(
    commands: Commands, folder: Path, unstopped: tuple[Path, Launch], count: int
) -> None:
    """Kills so many times at changes to files, goes on to the end and compares."""
    reference, whole = unstopped
    chosen = kills(whole.changes, count)
    launches = finish(commands, folder, whole.arguments, chosen)
    story = f"seed {SEED}: " + "; ".join(each.changes[-1] for each in launches)
    assert [each.killed for each in launches] == [True] * count + [False], story
    for each, launch in zip(chosen, launches, strict=False):
        assert sum(re.search(each.of, change) is not None for change in launch.changes) >= each.at
    assert launches[-1].code == 0, f"{story}\n{launches[-1].output}"
    assert_went_on([each.output for each in launches])
    assert_same_sweep(folder, reference)


@pytest.mark.long
def test_a_sweep_killed_at_changes_to_its_files_ends_as_one_that_was_not(
    commands, unstopped, tmp_path
):
    assert_same_in_the_end(commands, tmp_path, unstopped, 5)


@pytest.fixture(scope="module")
def long_command(tiny) -> list[str]:
    """Runs of some seconds, of epochs of some tenths of one."""
    few = ["data.batch_size=2", "data.steps_per_execution=10", "trainer.max_epochs=12"]
    return ["-m", *tiny, *MODEL, *few, "loss=mse,cross_entropy", "seed=0,1", "name=grid"]


@pytest.fixture(scope="module")
def long_unstopped(commands, long_command, tmp_path_factory) -> tuple[Path, Launch]:
    return launched(commands, long_command, tmp_path_factory.mktemp("long"))


@pytest.mark.long
def test_so_it_does_after_many_kills(commands, long_unstopped, tmp_path):
    assert_same_in_the_end(commands, tmp_path, long_unstopped, 12)


@pytest.mark.long
def test_so_it_does_after_kills_at_any_time(commands, long_unstopped, tmp_path):
    reference, whole = long_unstopped
    random = Random(SEED)
    times = [Kill(after=random.uniform(0.3, whole.seconds / 5)) for _ in range(6)]
    launches = finish(commands, tmp_path, whole.arguments, times)
    assert sum(each.killed for each in launches) >= 4, f"seed {SEED}: {times}"
    assert launches[-1].code == 0, f"seed {SEED}: {launches[-1].output}"
    assert_went_on([each.output for each in launches])
    assert_same_sweep(tmp_path, reference)


@pytest.fixture
def start(tmp_path) -> Iterator[Callable[[Sequence[str]], subprocess.Popen[bytes]]]:
    """Starts the script in `tmp_path`; whatever of it still runs after the test is killed."""
    ours = signal.signal(signal.SIGINT, signal.default_int_handler)  # else it may be ignored
    started = []

    def start_one(arguments: Sequence[str]) -> subprocess.Popen[bytes]:
        started.append(kill.start(tmp_path, arguments))
        return started[-1]

    yield start_one
    for process in started:
        kill.end(process)
    signal.signal(signal.SIGINT, ours)


def statuses(folder: Path) -> Counter[str]:
    records = (folder / "logs" / "grid").glob("*/run.json")
    return Counter(record.read(path.parent)["status"] for path in records)


def training(
    folder: Path, since: float, ended: int = 0, most_epochs: int = 12
) -> Callable[[], bool]:
    """Whether a run has been training since then, up to that epoch, and so many have ended."""

    def trains() -> bool:
        paths = [*(folder / "logs" / "grid").glob("*/run.json")]
        there = {path: read_status(path.parent) for path in paths}
        latest = [there[path] for path in paths if path.stat().st_mtime > since]
        enough = sum(run.status == "finished" for run in there.values()) >= ended
        return enough and any(
            run.status == "running" and run.epochs <= most_epochs for run in latest
        )

    return trains


def outputs(folder: Path) -> list[str]:
    return (folder / "output.txt").read_text().splitlines()


@pytest.mark.long
def test_the_script_killed_from_outside_ends_as_if_it_was_not(
    start, long_command, long_unstopped, tmp_path
):
    random = Random(SEED)
    running = 0
    for number in range(12):
        since = time.time()
        process = start(long_command)
        if number % 4:
            kill.wait_until(training(tmp_path, since))
            time.sleep(random.uniform(0, 1))
        else:
            time.sleep(random.uniform(1, 8))
        if process.poll() is not None:
            break  # a quick machine is through
        kill.end(process)
        running += statuses(tmp_path)["running"] > 0
    assert running >= 4, f"seed {SEED}"
    process = start(long_command)
    kill.wait_until(lambda: set(statuses(tmp_path)) == {"finished"})  # the comparison comes
    time.sleep(random.uniform(0, 1))
    kill.end(process)
    assert start(long_command).wait(timeout=120) == 0, outputs(tmp_path)[-1]
    assert_went_on(outputs(tmp_path))
    assert_same_sweep(tmp_path, long_unstopped[0])


@pytest.mark.long
def test_so_do_runs_in_processes_of_their_own(start, long_command, long_unstopped, tmp_path):
    random = Random(SEED)
    command = [*long_command, "hydra/launcher=processes"]
    for number in range(4):
        since = time.time()
        process = start(command)
        kill.wait_until(training(tmp_path, since))
        time.sleep(random.uniform(0, 1))
        if number < 3:
            kill.end(process)
        else:  # its workers go on by themselves
            process.kill()
            process.wait(timeout=30)
    for _ in range(4):
        assert start(long_command).wait(timeout=120) == 0, outputs(tmp_path)[-1]
        if set(statuses(tmp_path)) == {"finished"}:
            break
    assert_went_on(outputs(tmp_path))
    assert_same_sweep(tmp_path, long_unstopped[0])


@pytest.mark.long
def test_two_sweeps_at_once_share_the_runs(start, long_command, long_unstopped, tmp_path):
    both = [start(long_command), start(long_command)]
    assert [each.wait(timeout=180) for each in both] == [0, 0], outputs(tmp_path)
    assert any("being trained by another process" in line for line in outputs(tmp_path))
    assert sorted(ends(outputs(tmp_path)).values()) == [1, 1, 1, 1]
    assert_same_sweep(tmp_path, long_unstopped[0])


@pytest.mark.long
@pytest.mark.parametrize("launch", ["basic", "processes"])
def test_a_sweep_that_is_asked_to_stop_does_so_and_says_how_to_go_on(
    start, commands, long_command, long_unstopped, tmp_path, launch
):
    command = [*long_command, f"hydra/launcher={launch}"]
    for ended, number in [(1, signal.SIGINT), (2, signal.SIGTERM)]:
        started = time.time()
        process = start(command)
        # far from its end: two that train at once end nearly together, and then none was stopped
        kill.wait_until(training(tmp_path, started, ended, most_epochs=4))
        (os.killpg if number == signal.SIGINT else os.kill)(process.pid, number)
        assert process.wait(timeout=30) == 128 + number, outputs(tmp_path)
        before = statuses(tmp_path)
        assert before["interrupted"] > 0
        assert before["running"] == 0
        goes_on = [line for line in outputs(tmp_path) if "the same command goes on" in line]
        assert len(goes_on) == ended
        assert "compares what has ended (" in goes_on[-1]
        assert not (tmp_path / "logs" / "grid" / "comparison").exists()
    assert kill.launch(commands, tmp_path, command).code == 0
    assert_same_sweep(tmp_path, long_unstopped[0])


@pytest.fixture
def small_disk(tmp_path) -> Iterator[Path]:
    """A folder with a file system of its own, of few megabytes, for the sweep."""
    folder = tmp_path / "logs"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, timeout=10).returncode:
        pytest.skip("mounts a file system: only root may")
    yield folder
    subprocess.run(["umount", str(folder)], check=True, timeout=10)


@pytest.mark.long
@pytest.mark.parametrize("left", [0, 20, 60, 100, 250, 700])
def test_a_full_disk_stops_a_sweep_with_one_sentence_and_once_freed_it_goes_on(
    commands, unstopped, tmp_path, small_disk, left
):
    filler = small_disk / "filler"
    space = os.statvfs(small_disk)
    filler.write_bytes(bytes(space.f_bavail * space.f_frsize - left * 1024))
    reference, whole = unstopped
    full = kill.launch(commands, tmp_path, whole.arguments)
    assert full.code not in (0, *kill.KILLED), full.output
    sentences = [line for line in full.output.splitlines() if "No space left on device" in line]
    assert any(f"{small_disk}/" in line for line in sentences), full.output
    assert "Traceback" not in full.output
    for path in small_disk.glob("grid/*/run.json"):
        entry = record.read(path.parent)
        whole_run = record.read(reference / "logs" / "grid" / path.parent.name)
        assert entry["status"] != "failed"
        assert entry["status"] != "finished" or entry["metrics"] == whole_run["metrics"]
    filler.unlink()
    again = kill.launch(commands, tmp_path, whole.arguments)
    assert again.code == 0, again.output
    assert_same_sweep(tmp_path, reference)


@pytest.fixture(scope="module")
def forty(commands, tiny, tmp_path_factory) -> tuple[Path, Launch]:
    seeds = ",".join(map(str, range(10)))
    grid = ["loss=mse,cross_entropy", "optimizer.lr=0.1,0.2", f"seed={seeds}", "name=grid"]
    command = ["-m", *tiny, *grid, "trainer.max_epochs=1"]
    return launched(commands, command, tmp_path_factory.mktemp("forty"))


@pytest.mark.long
@pytest.mark.parametrize("launch", ["basic", "processes"])
def test_forty_finished_runs_are_passed_over_quickly(forty, launch):
    folder, whole = forty
    records = sorted((folder / "logs" / "grid").glob("*/run.json"))
    before = [path.stat().st_mtime_ns for path in records]
    assert len(before) == 40
    comparison = folder / "logs" / "grid" / "comparison" / "comparison.md"
    comparison.unlink()
    started = time.monotonic()
    process = kill.start(folder, [*whole.arguments, f"hydra/launcher={launch}"])
    try:
        assert process.wait(timeout=120) == 0
    finally:
        kill.end(process)
    assert comparison.exists()
    assert [path.stat().st_mtime_ns for path in records] == before
    # 11 to 14 s where this was written; a slower machine is no failure, 40 runs launched are
    assert time.monotonic() - started < 30
