"""Which of a sweeper's runs are one and the same, by the values of their overrides."""

import pytest

from runlab.sweeps.jobs import first_alike, identifying, setting


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("optimizer.lr=1", "optimizer.lr=1.0"),
        ("optimizer.lr=1e-1", "++optimizer.lr=.1"),
        ("optimizer.weight_decay=0", "optimizer.weight_decay=-0.0"),
        ("+a=1", "a=1"),
        ("a=true", "a=True"),
        ("a=null", "a=Null"),
        ("loss='mse'", "loss=mse"),
        ("model.widths=[128,64]", "model.widths=[128, 64.0]"),
        ("a={x: 1}", "a={x:1.0}"),
    ],
)
def test_one_setting_is_known_however_it_is_written(first, second):
    assert setting(first) == setting(second)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("a=1", "a='1'"),
        ("a=1", "a=true"),
        ("a=null", "a=None"),
        ("a=null", "~a"),
        ("a=1", "b=1"),
        ("trainer.limit_val_batches=1", "trainer.limit_val_batches=1.0"),
        ("a=f(", "a=g("),
    ],
)
def test_settings_that_differ_are_told_apart(first, second):
    assert setting(first) != setting(second)


def test_each_run_is_found_where_it_first_stands():
    jobs = [["lr=1", "seed=0"], ["lr=2", "seed=0"], ["seed=0", "lr=1.0"], ["lr=2.0", "seed=1"]]
    assert first_alike(jobs, ()) == [0, 1, 0, 3]
    assert first_alike([], ()) == []


def test_what_changes_no_result_makes_no_other_run():
    assert first_alike([["seed=0", "logger=csv"], ["seed=0", "logger=none"]], ()) == [0, 0]
    assert identifying(["seed=0", "callback.bar.rate=1"], ["bar"]) == {("seed", "0")}


def test_files_of_weights_are_told_apart_by_what_they_hold(tmp_path):
    for name, content in {"a": b"1", "b": b"2", "moved": b"1"}.items():
        (tmp_path / name).write_bytes(content)
    jobs = [[f"pretrained.file='{tmp_path}/{name}'"] for name in ("a", "b", "moved", "none")]
    jobs.append(["pretrained.file=null"])
    assert first_alike(jobs, ()) == [0, 1, 0, 3, 4]


def test_runs_on_data_of_two_places_are_not_taken_for_one():
    assert first_alike([["data_dir=/a"], ["data_dir=/b"], ["+data_dir=/a"]], ()) == [0, 1, 0]
