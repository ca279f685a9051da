"""A user's mistake on the command line: one sentence, exit code 1, no traceback, nothing lost."""

import os
import sys

import pytest

from runlab.cli.main import main
from runlab.config.messages import user_message
from runlab.train import train
from tests.compose import CONF


@pytest.fixture
def refused(tmp_path, tiny, monkeypatch, capsys):
    """Runs scripts/train.py with these arguments, which it must refuse; returns the sentence."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> str:
        flags = [argument for argument in arguments if argument == "-m"]
        overrides = [argument for argument in arguments if argument != "-m"]
        monkeypatch.setattr(sys, "argv", ["train.py", *flags, *tiny, *overrides])
        with pytest.raises(SystemExit) as exit_:
            main(train, config_name="train", config_dir=CONF)
        assert exit_.value.code not in (0, None)
        assert "Traceback" not in capsys.readouterr().err
        return str(exit_.value.code)

    return run


def test_a_message_moves_no_cursor():
    error = ValueError("expected a\x1b[2J name,\n  got \u202eb")
    assert user_message(error) == r"expected a\x1b[2J name, got \u202eb"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["optimizer.lrr=1"], "unknown parameter optimizer.lrr; did you mean lr? expected one of"),
        (["data.batchsize=1"], "unknown key data.batchsize; did you mean batch_size? expected on"),
        (
            ["los=mse"],
            "unknown key los; did you mean loss? expected one of: callback, comparison, data, ",
        ),
        (["loss=msee"], "unknown choice loss=msee; did you mean mse? expected one of: bce_wit"),
        (["experiment=nope"], "unknown choice experiment=nope; expected one of: mse_vs_cross"),
        (["name=a=1"], "cannot read name=a=1 (mismatched input '=' expecting <EOF>): a value that"),
        (["name=[a"], "cannot read name=[a ("),
        (["-m", "loss=mse,msee"], "unknown choice loss=msee; did you mean mse?"),
        (["optimizer.lr=-1"], "expected optimizer.lr to be a finite number of at least 0, got -1"),
        (
            ["optimizer.lr=nan"],
            "expected optimizer.lr to be a finite number of at least 0, got nan",
        ),
        (["data.batch_size=0"], "data.batch_size: expected a whole number of at least 1, got 0"),
        (["data.batch_size=161"], "data.batch_size: expected at most 160"),
        (["data.val_size=41"], "expected 200 = data.train_size + data.val_size, got 160 + 41"),
        (["data.num_classes=5"], "train-labels-idx1-ubyte: expected labels 0 to 4"),
        (["data.loader=x"], "data.loader: expected tensor or dataloader, got 'x'"),
        (["trainer.max_epochs=abc"], "expected trainer.max_epochs of at least 1"),
        (["model.activation._target_=torch.nn.Relu"], "cannot import model.activation._target_"),
        (["+lr=0.5"], "unknown key lr; expected one of: callback, comparison, data"),
        (["name=.."], "expected name to be a folder's name without '/', got '..'"),
        (["seed=-1"], "expected seed to be at least 0, got -1"),
        (
            ["trainer.precision=64"],
            "trainer.precision is not in the configuration yet: add it by +",
        ),
        (["-m", "name=../x"], "expected name to be a folder's name without '/', got '../x'"),
        (["name="], "expected name to be a folder's name without '/', got ''"),
        ([f"name={'x' * 300}"], "expected name to be a folder's name of at most 180 bytes, got 'x"),
        (["-m", "name=a,b"], "expected one name for all runs of a sweep, got several: launch "),
        (["hydra.job.chdir=true"], "expected hydra.job.chdir=false, got true: data_dir and logs/"),
        (["-m", "hydra.job.chdir=true"], "expected hydra.job.chdir=false, got true: data_dir and"),
        (["threads=1000000"], "expected threads to be a whole number of 1 to "),
        (
            ["-m", "hydra/launcher=processes", "hydra.launcher.n_jobs=1000000"],
            "expected hydra.launcher.n_jobs to be a whole number of -",
        ),
        (
            ["-m", "hydra/launcher=stacked", "hydra.launcher.processes=1000000"],
            "expected hydra.launcher.processes to be a whole number of 1 to ",
        ),
        (
            ["-m", "hydra/launcher=stacked", "hydra.launcher.size=1000000"],
            "expected hydra.launcher.size to be a whole number of 1 to 1000, got 1000000",
        ),
        (
            ["-m", "hydra/sweeper=optuna", "hydra.sweeper.n_jobs=0"],
            "expected hydra.sweeper.n_jobs to be a whole number of 1 to ",
        ),
        (
            ["-m", "data=mnist,table", "data.target=x"],
            "data=mnist: unknown key data.target; expected one of: batch_size, ",
        ),
        (["seed=null"], "expected seed to be of type int"),
        (["-m", "seed=null,1"], "expected seed to be of type int"),
        (["seed=0.5"], "expected seed to be of type int"),
        (["retry=diverged"], "retry: Invalid value 'diverged', expected one of [failed]"),
        (["fail_fast=maybe"], "expected fail_fast to be of type bool"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_it_is_one_clear_sentence(refused, arguments, sentence):
    message = refused(*arguments)
    assert message.startswith(sentence) or sentence in message
    assert len(message.splitlines()) == 1


def test_a_fixed_value_may_be_of_a_key_that_swept_choices_alone_have(tmp_path, monkeypatch):
    (tmp_path / "module").mkdir()
    for name in ("one", "other"):
        (tmp_path / "module" / f"{name}.yaml").write_text("_target_: a.B\nlr: 1\nwidths: [1]\n")
    where = f"hydra.searchpath=[file://{tmp_path}]"
    fixed = ["module.lr=0.003", "module.widths=[8, 4]", "seed=3"]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["train.py", "-m", where, "module=one,other", *fixed])
    trained = []
    main(
        lambda cfg: trained.append((cfg.run.name, cfg.module)),
        config_name="train", config_dir=CONF,
    )  # fmt: skip
    assert [name for name, _ in trained] == [
        f"loss=cross_entropy,lr=0.1,seed=3,module={name},module.lr=0.003,widths=[8,4]"
        for name in ("one", "other")
    ]
    for _, module in trained:
        assert module == {"_target_": "a.B", "lr": 0.003, "widths": [8, 4]}


@pytest.mark.parametrize(
    "arguments",
    [["name=../x"], ["name=.."], ["-m", "name=../x"], ["-m", "loss=mse,msee"],
     [f"name={'x' * 250}"], ["-m", "name=a,b"], ["-m", "data=mnist,table", "data.target=x"],
     ["hydra.job.chdir=true"], ["-m", "hydra/launcher=processes", "hydra.launcher.n_jobs=1000000"]],
)  # fmt: skip
def test_what_cannot_be_launched_is_refused_before_a_file_is_made(refused, tmp_path, arguments):
    (tmp_path / "work").mkdir()
    os.chdir(tmp_path / "work")  # the fixture goes back from wherever it is
    refused(*arguments)
    assert [path.name for path in tmp_path.rglob("*")] == ["work"]


@pytest.mark.long
@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("sed: 1\n", "unknown key sed; did you mean seed?"),
        ("optimizer:\n  lrr: 1\n", "unknown parameter optimizer.lrr; did you mean lr?"),
        ("trainer:\n  max_epoch: 1\n", "unknown parameter trainer.max_epoch; did you mean max_epo"),
        ("defaults:\n  - override /loss: msee\n", "unknown choice loss=msee; did you mean mse?"),
    ],
    ids=["key", "parameter", "nested parameter", "choice"],
)
def test_a_typing_error_inside_an_experiment_file_is_found(refused, tmp_path, content, sentence):
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "mine.yaml").write_text(f"# @package _global_\n{content}")
    message = refused(f"hydra.searchpath=[file://{tmp_path}]", "experiment=mine")
    assert sentence in message


def test_a_folder_that_cannot_be_written_is_named(refused, tmp_path):
    (tmp_path / "logs").write_text("a file where the folder should be")
    assert "cannot use logs" in refused()
    assert (tmp_path / "logs").read_text() == "a file where the folder should be"


def test_data_that_is_not_there_is_named(refused, tmp_path):
    assert f"{tmp_path}/none" in refused(f"data_dir={tmp_path}/none")


def test_a_gpu_that_is_not_there_is_named(refused):
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    assert "trainer=default takes the device that is there" in refused("trainer=gpu")
