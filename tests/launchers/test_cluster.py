"""What stands between a sweep and sbatch: parameters, refusals, cores. No SLURM is needed."""

import shutil
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from hydra_plugins.stacked_cluster_launchers import StackedSubmititLauncher
from runlab.launchers.cluster import submit_array
from runlab.launchers.part import Job, Part
from runlab.stacks import available_cores
from runlab.sweeps.grid import trains_here
from tests.compose import CONF

PART = Part(list, [Job(0, ["seed=0"])], None)


@pytest.fixture
def program(tmp_path, monkeypatch):
    """Puts a program of that name, which does so, in the place of all on the PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))

    def write(name: str, script: str = "exit 0") -> None:
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)

    return write


def launcher(tmp_path: Path, **parameters: Any) -> StackedSubmititLauncher:
    return StackedSubmititLauncher(str(tmp_path / "%j"), **parameters)


def test_parameters_reach_sbatch_by_the_names_of_hydras_own_launcher(tmp_path, program):
    program("srun")
    given = OmegaConf.create({"nice": 100})
    own = launcher(
        tmp_path, name="a", partition="gpu", timeout_min=7, mem_gb=2, cpus_per_task=3,
        gpus_per_node=None, signal_delay_s=9, additional_parameters=given,
    )  # fmt: skip
    assert own.executor().parameters == {
        "job_name": "a",
        "partition": "gpu",
        "time": 7,
        "mem": "2GB",
        "cpus_per_task": 3,
        "signal_delay_s": 9,
        "additional_parameters": {"nice": 100},
    }


@pytest.mark.parametrize("cluster", ["slurm", "local"])
def test_an_unknown_parameter_is_one_sentence(tmp_path, program, cluster):
    program("srun")
    with pytest.raises(ValueError, match=r"^expected .* submitit .*\bpartitoin\b.*$") as raised:
        launcher(tmp_path, cluster=cluster, partitoin="gpu").executor()
    assert "\n" not in str(raised.value)


def test_a_cluster_that_submitit_does_not_have_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"one of slurm, local, got pbs"):
        launcher(tmp_path, cluster="pbs")


def test_a_machine_without_slurm_is_told_so(tmp_path, program):
    assert shutil.which("srun") is None
    with pytest.raises(ValueError, match=r"got no srun: .*hydra\.launcher\.cluster=local"):
        launcher(tmp_path).executor()


def test_what_sbatch_objects_to_is_in_the_sentence(tmp_path, program, capfd):
    program("srun")
    program("sbatch", "echo 'sbatch: error: invalid partition specified: nowhere' >&2; exit 1")
    executor = launcher(tmp_path, partition="nowhere").executor()
    with pytest.raises(ValueError, match=r"^expected sbatch .*: invalid partition .*: nowhere$"):
        submit_array(executor, [PART])
    assert capfd.readouterr() == ("", "")


def test_a_missing_sbatch_is_one_sentence(tmp_path, program):
    program("srun")
    with pytest.raises(ValueError, match=r"^expected sbatch to take .*sbatch"):
        submit_array(launcher(tmp_path).executor(), [PART])


def test_a_job_trains_on_the_cores_that_slurm_gave_it(monkeypatch):
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "1")
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    assert available_cores() == 1


def test_cores_of_a_job_that_is_not_this_one_do_not_count(monkeypatch):
    monkeypatch.delenv("SLURM_CPUS_PER_TASK", raising=False)
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    own = available_cores()
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "1")
    assert available_cores() == own


@pytest.mark.parametrize("name", ["stacked_slurm", "stacked_ray"])
def test_devices_of_the_machine_that_launches_are_not_asked_for(name):
    assert not trains_here(OmegaConf.load(CONF / "hydra" / "launcher" / f"{name}.yaml"))
    assert trains_here(OmegaConf.load(CONF / "hydra" / "launcher" / "stacked.yaml"))
