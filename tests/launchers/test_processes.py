"""Parts are queued over a list of devices: no device has to be there."""

import os

import pytest
from omegaconf import OmegaConf

from runlab.launchers import local
from runlab.launchers.part import Job, LostPartError
from runlab.launchers.processes import Slot, memory_limit, run_in_processes, share_devices
from runlab.runs.provenance import place
from tests.launchers.parts import Die, Leave, Look


def test_each_process_sees_one_device_and_takes_the_next_part_when_it_is_free(tmp_path):
    parts = [Look(tmp_path, str(number), together=2) for number in range(5)]
    results = dict(run_in_processes(parts, share_devices(["0", "GPU-5"], 2)))
    assert sorted(results) == [0, 1, 2, 3, 4]
    processes = {}
    for process, device, limit in results.values():
        assert processes.setdefault(process, device) == device
        assert limit is None
    assert sorted(processes.values()) == ["0", "GPU-5"]
    assert os.getpid() not in processes
    assert "CUDA_VISIBLE_DEVICES" not in os.environ


def test_processes_on_one_device_are_told_their_share_of_its_memory(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTORCH_CUDA_ALLOC_CONF", "expandable_segments:True")
    parts = [Look(tmp_path, str(number), together=2) for number in range(2)]
    results = dict(run_in_processes(parts, share_devices(["3"], 2)))
    for _, device, limit in results.values():
        assert device == "3"
        assert limit == "expandable_segments:True,per_process_memory_fraction:0.5"


def test_devices_are_dealt_out_in_turn():
    assert share_devices(["0", "1"], 3) == [Slot("0", 0.5), Slot("1", 1.0), Slot("0", 0.5)]
    assert share_devices([], 2) == [Slot(), Slot()]
    assert memory_limit(1.0) == {}


@pytest.mark.parametrize(
    ("end", "said"), [(Die(), "was killed by signal 9"), (Leave(), "ended with exit code 3")]
)
def test_a_process_that_dies_loses_its_part_alone(tmp_path, end, said):
    parts = [Look(tmp_path, "0"), end, Look(tmp_path, "2")]
    results = dict(run_in_processes(parts, [Slot("7")]))
    assert isinstance(results[1], LostPartError)
    assert said in str(results[1])
    assert results[0][1] == results[2][1] == "7"  # the new process has the device of the old one
    assert results[0][0] != results[2][0]


def test_whoever_stops_early_leaves_no_process_behind(tmp_path):
    results = run_in_processes([Look(tmp_path, "0"), Look(tmp_path, "1")], [Slot()])
    _, (process, *_) = next(results)
    results.close()
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)


def test_the_record_says_on_which_machine_device_and_job_a_run_was(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5")
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "17")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "3")
    assert place() == {"host": os.uname().nodename, "device": "5", "job": "17_3"}


@pytest.fixture
def eight(monkeypatch):
    """A machine with eight GPUs, as far as it is only looked at."""
    monkeypatch.setattr("torch.cuda.device_count", lambda: 8)
    monkeypatch.setattr("torch.accelerator.is_available", lambda: True)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


@pytest.mark.parametrize(
    ("settings", "trainer", "expected"),
    [
        ({}, {"accelerator": "auto", "devices": 1}, [Slot(str(each)) for each in range(8)]),
        ({"processes": 16}, {"devices": 1}, [Slot(str(n % 8), 0.5) for n in range(16)]),
        ({"processes": 2}, {"accelerator": "gpu"}, [Slot("0"), Slot("1")]),
        ({"devices": [6, 7]}, {"accelerator": "cpu"}, [Slot("6"), Slot("7")]),
        ({}, {"devices": [3]}, [Slot()]),  # whoever names a device has chosen it
        ({"processes": 3}, {"accelerator": "cpu"}, [Slot()] * 3),
    ],
)
def test_stacks_use_all_gpus_unless_they_are_told_which(
    eight, monkeypatch, settings, trainer, expected
):
    launcher = local.StackedLauncherMixin(**settings)
    monkeypatch.setattr(launcher, "trainer_of", lambda jobs: (OmegaConf.create(trainer), 0))
    assert launcher.suitable_slots([Job(0, [])]) == expected


def test_gpus_that_the_user_has_left_visible_keep_their_names(eight, monkeypatch):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4, MIG-1")
    assert local.visible_devices() == ["4", "MIG-1"]


@pytest.mark.parametrize("devices", [[], "0", [0.5], 3])
def test_what_is_no_list_of_devices_is_refused(devices):
    with pytest.raises(ValueError, match=r"expected hydra\.launcher\.devices to be a list of GPUs"):
        local.check_devices(devices)
