"""What is known of a sweep's jobs without asking SLURM: its file, and how squeue answers."""

import pytest

from runlab.launchers import slurm
from runlab.launchers.submissions import FILE, Submission, read_submissions, record_submissions

FIRST = Submission("17_0", [["loss=mse", "seed=0"], ["loss=mse", "seed=1"]])
SECOND = Submission("18", [["loss=mse", "seed=1"]])


def test_the_latest_submission_is_read_first(tmp_path):
    record_submissions(tmp_path, [FIRST])
    record_submissions(tmp_path, [SECOND])
    assert read_submissions(tmp_path) == [SECOND, FIRST]


def test_a_sweep_without_jobs_has_no_submissions(tmp_path):
    assert read_submissions(tmp_path) == []


@pytest.mark.parametrize("line", ['{"job": "18", "ru', '{"job": "18"}', "[1]", "\0\0\0", ""])
def test_a_line_that_is_not_whole_is_left_out(tmp_path, line):
    record_submissions(tmp_path, [FIRST])
    with (tmp_path / FILE).open("a") as file:
        file.write(line)
    assert read_submissions(tmp_path) == [FIRST]


def test_what_follows_a_line_that_was_cut_off_is_read(tmp_path):
    record_submissions(tmp_path, [FIRST])
    with (tmp_path / FILE).open("a") as file:
        file.write('{"job": "18", "ru')
    record_submissions(tmp_path, [SECOND])
    assert read_submissions(tmp_path) == [SECOND, FIRST]


def test_squeues_answer_gives_each_job_a_state():
    assert slurm.read_states("17_0 RUNNING\n17_1 PENDING\n\n18 CANCELLED\n19 \n") == {
        "17_0": "RUNNING",
        "17_1": "PENDING",
        "18": "CANCELLED",
    }


@pytest.mark.parametrize(
    ("state", "lives"),
    [
        ("RUNNING", True), ("PENDING", True), ("COMPLETING", True), ("REQUEUED", True),
        ("SUSPENDED", True), ("COMPLETED", False), ("CANCELLED", False), ("NODE_FAIL", False),
        ("TIMEOUT", False), (None, False),
    ],
)  # fmt: skip
def test_a_job_lives_until_it_has_ended_or_is_forgotten(state, lives):
    assert slurm.is_living(state) is lives


def test_jobs_are_named_as_scancel_takes_them():
    ids = ["17_0", "17_1", "17_2", "17_5", "18", "19_11", "19_3", "19_10"]
    assert slurm.abbreviated(ids) == "17_[0-2,5] 18 19_[3,10-11]"


def test_without_slurm_no_state_is_known(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert slurm.states() is None
    assert slurm.largest_array() == slurm.DEFAULT_ARRAY
