"""Sweeps of stacks on a real SLURM of this machine, without accounting: pytest -m slurm

Each job takes seconds of imports, so one sweep shows several things.
"""

import json
import re
import shlex
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from tests.commands import ROOT, Commands, Process
from tests.launchers.cluster import Cluster, kill
from tests.launchers.slurm_sweeps import (
    RUNS,
    SECONDS,
    SLURM,
    beyond_rounding,
    difference,
    ends,
    logs,
    statuses,
    submitted,
    until_training,
)  # fmt: skip
from tests.runs.kill import wait_until
from tests.sweeps.failing import AT_A_RATE_OF_9
from tests.test_docs import commands_of

pytestmark = pytest.mark.slurm

TRAIN = "scripts/train.py"
EPOCHS = 20
TWO = [*RUNS, "loss=mse,cross_entropy", f"trainer.max_epochs={EPOCHS}"]
LONGEST = 400.0
"""Seconds. A node that is lost is noticed after 10 to 30, its jobs are queued again after 10."""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory) -> Iterator[Cluster]:
    started = Cluster(tmp_path_factory.mktemp("slurm") / "cluster", largest_array=2)
    yield started
    started.stop()


@pytest.fixture(scope="module")
def unstopped(tmp_path_factory, commands) -> Path:
    """The same runs as stacks in processes of this machine, which need no SLURM."""
    folder = tmp_path_factory.mktemp("unstopped")
    local = [*SLURM, "hydra.launcher.cluster=local"]
    command = [
        "-m",
        *RUNS,
        "loss=mse,cross_entropy,mse_logits",
        f"trainer.max_epochs={EPOCHS}",
        *local,
    ]
    done = commands.run(folder, TRAIN, *command, "name=sweep", timeout=LONGEST)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "logs" / "sweep"


@pytest.fixture
def start(commands: Commands, cluster, tmp_path) -> Callable[..., Process]:
    def start_one(*arguments: str) -> Process:
        arguments = ("-m", *SLURM, "name=sweep", *arguments)
        return commands.start(tmp_path, TRAIN, *arguments, environment=cluster.environment)

    return start_one


@pytest.fixture
def launch(start) -> Callable[..., CompletedProcess]:
    def launch_one(*arguments: str) -> CompletedProcess:
        process = start(*arguments)
        code = process.wait(LONGEST)
        outputs = [each.read_text() for each in (process.output, process.errors)]
        return CompletedProcess(arguments, code, *outputs)

    return launch_one


def assert_same_numbers(sweep: Path, reference: Path, runs: int) -> None:
    found = difference(sweep, reference)
    assert found.runs == runs
    assert not beyond_rounding(found, EPOCHS), found.terminal()


def conclusions_of(sweep: Path) -> list[str]:
    told: list[str] = json.loads((sweep / "comparison" / "conclusion.json").read_text())[
        "conclusions"
    ]
    return told


def test_an_array_goes_on_without_its_commands_and_a_later_one_concludes(
    start, launch, cluster, unstopped, tmp_path
):
    sweep, command = tmp_path / "logs" / "sweep", [*TWO, "hydra.launcher.array_parallelism=1"]
    (tmp_path / SECONDS).write_text("0.3")
    detached = launch(*command, "detach=true")
    assert detached.returncode == 0, detached.stderr
    [array] = {job.partition("_")[0] for job in submitted(sweep)}
    assert submitted(sweep) == [f"{array}_0", f"{array}_1"]
    assert f"SLURM jobs: {array}_[0-1]" in detached.stdout
    assert not (sweep / "comparison").exists()

    killed = start(*command)
    attached = f"4 runs in SLURM jobs that go on: {array}_[0-1]"
    wait_until(lambda: attached in killed.output.read_text(), 120)
    until_training(sweep, ["mse"])
    killed.end()  # by SIGKILL
    (tmp_path / SECONDS).unlink()

    last, most = start(*command), 0
    while last.poll() is None:
        states = cluster.jobs()
        most = max(most, sum(states.get(job) == "RUNNING" for job in submitted(sweep)))
        time.sleep(0.5)
    assert last.returncode == 0, last.output.read_text() + last.errors.read_text()
    assert most == 1
    assert "SLURM jobs that go on: " in last.output.read_text()
    assert len(submitted(sweep)) == 2
    assert (sweep / "comparison" / "comparison.html").exists()
    assert sorted(ends(sweep).values()) == [1, 1, 1, 1]
    assert_same_numbers(sweep, unstopped, 4)


def test_jobs_whose_time_is_over_or_whose_node_is_lost_go_on(start, cluster, unstopped, tmp_path):
    sweep = tmp_path / "logs" / "sweep"
    (tmp_path / SECONDS).write_text("1")
    command = start(*TWO)
    until_training(sweep, ["mse", "cross_entropy"])
    first, _ = submitted(sweep)
    # SLURM looks every 30 s, and says so 90 s before
    in_a_moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(time.time() + 40))
    cluster.call("scontrol", "update", f"JobId={first}", f"EndTime={in_a_moment}")
    wait_until(lambda: "Caught signal SIGUSR2" in logs(sweep), 120)
    cluster.call("scontrol", "update", f"JobId={first}", "TimeLimit=30")

    cluster.kill_node()
    wait_until(lambda: "RUNNING" not in cluster.jobs().values(), 120)
    (tmp_path / SECONDS).unlink()
    cluster.start_node()

    assert command.wait(LONGEST) == 0, command.output.read_text() + command.errors.read_text()
    assert len(set(re.findall(r"(\S+): goes on after epoch", logs(sweep)))) == 4
    assert len(submitted(sweep)) == 2
    assert set(ends(sweep).values()) == {1}
    assert_same_numbers(sweep, unstopped, 4)


def test_lost_jobs_are_told_and_the_same_command_goes_on(
    start, launch, cluster, unstopped, tmp_path
):
    """Three jobs are more than an array may have here."""
    sweep = tmp_path / "logs" / "sweep"
    three = [*TWO, "loss=mse,cross_entropy,mse_logits"]
    (tmp_path / SECONDS).write_text("1")
    command = start(*three)
    until_training(sweep, ["mse,", "cross_entropy"])
    cancelled, killed, other = submitted(sweep)
    assert cancelled == killed.replace("_1", "_0")
    assert "_" not in other
    assert cluster.jobs()[other] == "PENDING"
    cluster.call("scancel", cancelled)
    wait_until(lambda: len(cluster.trainers()) == 1, 120)
    kill(*cluster.trainers())
    (tmp_path / SECONDS).unlink()

    assert command.wait(LONGEST) == 1
    said = command.output.read_text() + command.errors.read_text()
    for job in (cancelled, killed):
        assert f"a stack of 2 runs is lost: job {job} ended without a result: " in said
    assert "the same command goes on" in said
    assert "Traceback" not in said
    assert statuses(sweep) == {"interrupted": 4, "finished": 2}

    again = launch(*three)
    assert again.returncode == 0, again.stdout + again.stderr
    assert len(submitted(sweep)) == 5
    assert "goes on after epoch" in logs(sweep)
    assert sorted(ends(sweep).values()) == [1] * 6
    assert_same_numbers(sweep, unstopped, 6)


def test_what_failed_is_submitted_again_where_that_is_asked_for_alone(launch, tmp_path):
    sweep = tmp_path / "logs" / "sweep"
    command = [*RUNS, AT_A_RATE_OF_9, "optimizer.lr=0.1,9", "seed=0", "trainer.max_epochs=2"]
    first = launch(*command)
    assert first.returncode == 1
    assert "expected another rate, got 9" in first.stdout + first.stderr
    assert statuses(sweep) == {"finished": 1, "failed": 1}
    launch(*command)
    assert len(submitted(sweep)) == 1
    again = launch(*command, "retry=failed")
    assert again.returncode == 1
    assert len(submitted(sweep)) == 2
    assert len(ends(sweep)) == 1


def test_what_sbatch_refuses_ends_the_command_with_one_sentence(launch, tmp_path):
    done = launch(*TWO, "hydra.launcher.partition=nowhere")
    assert done.returncode == 1
    [sentence] = [line for line in done.stderr.splitlines() if line]
    assert "invalid partition specified: nowhere" in sentence
    assert not (tmp_path / "logs" / "sweep" / ".submitit" / "submitted.jsonl").exists()


FEW = ["data.train_size=160", "data.val_size=40", "data.batch_size=16", "trainer.max_epochs=1"]
FEW += ["data.verify=false", "trainer=cpu"]


def test_the_commands_of_the_page_give_one_conclusion_everywhere(
    commands, cluster, data_dir, tmp_path
):
    """On this machine, on SLURM and on Ray, with small data and few runs."""
    for number, line in enumerate(commands_of(ROOT / "docs" / "cluster.md")):
        _, command, *arguments = shlex.split(line)
        if command == "train":
            arguments += [f"data_dir={data_dir}", *FEW]
        if "experiment=mse_vs_cross_entropy" in arguments:
            arguments += ["seed=0,1", "optimizer.lr=0.1,0.5", f"name=on{number}"]
        process = commands.start(
            tmp_path, "-m", "losslab", command, *arguments, environment=cluster.environment
        )
        assert process.wait(LONGEST) == 0, line + process.errors.read_text()
    sweeps = {
        name: tmp_path / "logs" / name for name in ("on0", "on1", "on2", "fourth", "fifth", "sixth")
    }
    conclusions = {name: conclusions_of(path) for name, path in sweeps.items()}
    assert all(conclusions.values())
    assert conclusions["on0"] == conclusions["on1"] == conclusions["on2"]
    assert conclusions["fourth"] == conclusions["fifth"] == conclusions["sixth"]
    for name in ("on1", "on2"):
        assert_same_numbers(sweeps[name], sweeps["on0"], 12)
