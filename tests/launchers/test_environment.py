"""What a worker that was there before the command learns of it, when it loads the task."""

import os
import pickle

from runlab.config.run_name import LAUNCH, SWEEP_SIZE, SWEPT_KEYS
from runlab.launchers.environment import Environment

OF_ANOTHER = {SWEEP_SIZE: "7", LAUNCH: "another"}


def test_the_task_brings_the_folder_and_the_runs_place_in_their_sweep(tmp_path, monkeypatch):
    sweep = {SWEEP_SIZE: "12", SWEPT_KEYS: "loss,seed", LAUNCH: None}
    for name, value in sweep.items():
        monkeypatch.delenv(name, raising=False)
        if value is not None:
            monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    travelling = pickle.dumps(Environment())
    monkeypatch.chdir("/")
    for name, value in OF_ANOTHER.items():  # an earlier sweep's
        monkeypatch.setenv(name, value)
    pickle.loads(travelling)
    assert os.getcwd() == str(tmp_path)
    assert {name: os.environ.get(name) for name in sweep} == sweep


def test_a_folder_that_this_machine_lacks_leaves_the_worker_where_it_is(tmp_path, monkeypatch):
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    travelling = pickle.dumps(Environment())
    monkeypatch.chdir(tmp_path)
    gone.rmdir()
    pickle.loads(travelling)
    assert os.getcwd() == str(tmp_path)
