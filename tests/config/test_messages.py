"""A user's mistake on the command line: one sentence, exit code 1, no traceback, nothing lost."""

import os
import sys

import lightning as L
import pytest

from runlab.cli.main import main
from runlab.config.arguments import flags_first, quoted
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


@pytest.mark.parametrize(
    ("argument", "expected"),
    [("name=1e3", "name='1e3'"), ("name=null", "name='null'"), ("name=größe", "name='größe'"),
     ("model.tag=größe 2", "model.tag='größe 2'"), ("name=mine", "name=mine"),
     ("optimizer.lr=1e3", "optimizer.lr=1e3"), ("-m", "-m"), ("name=ä,b", "name=ä,b")],
)  # fmt: skip
def test_a_name_is_taken_as_it_is_typed(argument, expected):
    assert quoted([argument], []) == [expected]


def test_flags_may_stand_between_overrides():
    assert flags_first(["a=1", "-m", "b=1,2"]) == ["-m", "a=1", "b=1,2"]


def test_a_mistake_of_a_single_run_leaves_no_folder_and_no_other_is_touched(refused, tmp_path):
    (tmp_path / "logs" / "train" / "notes").mkdir(parents=True)
    refused("optimizer.lr=-1")
    assert [each.name for each in (tmp_path / "logs" / "train").iterdir()] == ["notes"]
    refused("optimizer.lr=-1", "name=other")
    assert [each.name for each in (tmp_path / "logs").iterdir()] == ["train"]


def test_a_sweep_is_refused_before_its_first_run(refused, tmp_path):
    assert "got -1" in refused("-m", "optimizer.lr=0.1,-1")
    assert not list(tmp_path.rglob("run.json"))


def test_a_message_moves_no_cursor():
    error = ValueError("expected a\x1b[2J name,\n  got \u202eb")
    assert user_message(error) == r"expected a\x1b[2J name, got \u202eb"


class Taking(L.LightningModule):
    """Has parameters of its own."""

    def __init__(self, loss, optimizer, lr, widths):
        super().__init__()


TAKING = f"_target_: {__name__}.Taking\n"


def test_a_fixed_value_may_be_of_a_key_that_swept_choices_alone_have(tmp_path, monkeypatch):
    (tmp_path / "module").mkdir()
    for name in ("one", "other"):
        (tmp_path / "module" / f"{name}.yaml").write_text(f"{TAKING}lr: 1\nwidths: [1]\n")
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
        assert module == {"_target_": f"{__name__}.Taking", "lr": 0.003, "widths": [8, 4]}


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
