"""`hydra/launcher=stacked_ray` on a real Ray, of which workers and a whole machine are lost."""

import os
import signal
import time
from pathlib import Path

import pytest

from runlab.runs import alike, record
from tests.commands import Process
from tests.launchers.same import assert_same_runs

pytestmark = pytest.mark.long
pytest.importorskip("ray")

TRAIN = "scripts/train.py"
RAY = ["hydra/launcher=stacked_ray", "hydra.launcher.init.address=auto"]
LONGEST = 300.0
"""Seconds: each worker imports everything, on cores that other tests share."""

BARE = ["comparison.sections=[]", "comparison.outputs=[]", "callback=checkpoint", "logger=none"]
GRID = [*BARE, "loss=mse,cross_entropy", "seed=0,1", "trainer.max_epochs=60"]


@pytest.fixture(scope="module")
def command(tiny) -> list[str]:
    return [TRAIN, "-m", *tiny, *GRID]


@pytest.fixture(scope="module")
def unstopped(commands, command, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("unstopped")
    done = commands.run(folder, *command, "name=sweep", "hydra/launcher=stacked")
    assert done.returncode == 0, done.stderr
    return folder / "logs" / "sweep"


@pytest.fixture(scope="module")
def machines():
    """A cluster of two machines with a core each, as far as Ray can tell."""
    from ray.cluster_utils import Cluster

    node = {"num_cpus": 1, "object_store_memory": 100_000_000}
    cluster = Cluster(initialize_head=True, head_node_args=node)
    cluster.add_node(**node)
    cluster.wait_for_nodes()
    yield cluster
    cluster.shutdown()


def running(sweep: Path) -> dict[str, dict]:
    """Records of the runs that are trained, once an epoch of each has ended."""
    found = {folder.name: entry for folder, entry in alike.readable(sweep)}
    return {
        name: entry["timing"]
        for name, entry in found.items()
        if entry["status"] == "running" and entry["metrics"].get("epochs")
    }


def wait_for_runs(process: Process, sweep: Path, count: int) -> dict[str, dict]:
    deadline = time.monotonic() + LONGEST
    while len(found := running(sweep)) < count:
        assert process.poll() is None, process.output.read_text() + process.errors.read_text()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return found


def test_a_worker_and_then_a_machine_are_lost_and_the_sweep_ends_as_if_nothing_had_been(
    machines, commands, command, unstopped, tmp_path
):
    address = {"RAY_ADDRESS": machines.address}
    sweep = tmp_path / "logs" / "sweep"
    process = commands.start(tmp_path, *command, "name=sweep", *RAY, environment=address)
    timing = wait_for_runs(process, sweep, 4)
    assert len({each["process"] for each in timing.values()}) == 2
    os.kill(next(iter(timing.values()))["process"], signal.SIGKILL)
    time.sleep(1)
    machines.remove_node(machines.worker_nodes.copy().pop(), allow_graceful=False)
    assert process.wait(LONGEST) == 0, process.output.read_text() + process.errors.read_text()
    entries = [record.read(folder) for folder in record.folders(sweep)]
    assert {entry["status"] for entry in entries} == {"finished"}
    assert sum(entry["timing"]["resumed"] > 0 for entry in entries) >= 2
    # what runs learn of their sweep reaches a worker that was there before
    assert sorted(entry["sweep_index"]["number"] for entry in entries) == [1, 2, 3, 4]
    assert {tuple(entry["launch"]["swept"]) for entry in entries} == {("loss", "seed")}
    assert (sweep / "comparison" / "comparison.md").exists()
    assert_same_runs(sweep, unstopped)
