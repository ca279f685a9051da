import runpy
import sys

import pytest
import torch
from omegaconf import OmegaConf

import losslab.models
from losslab.metrics import MEASURES
from runlab.config.arguments import quoted
from runlab.extras.evaluate.evaluate import Evaluation, evaluate
from runlab.train import train
from tests.attacks import CALLED, RESOLVED, SECRET, attacks, nested
from tests.compose import ROOT, compose

SCRIPT = str(ROOT / "scripts" / "evaluate.py")


@pytest.fixture(scope="module")
def finished(tmp_path_factory, tiny):
    """A run of two epochs: its checkpoint, as it lies among runs, and its record."""
    folder = tmp_path_factory.mktemp("sweep") / "loss=cross_entropy,lr=0.5,seed=0"
    folder.mkdir()
    entry = train(compose(*tiny, "optimizer.lr=0.5", "logger=none", folder=folder))
    return folder / "checkpoints" / "best.ckpt", entry


def config(checkpoint, data_dir, **trainer):
    options = {"accelerator": "cpu", "enable_model_summary": False, **trainer}
    trainer = {"_target_": "lightning.Trainer", "_partial_": True, **options}
    return OmegaConf.create(
        {"checkpoint": str(checkpoint), "data_dir": str(data_dir), "trainer": trainer}
    )


def of_splits(entry):
    """The record's metrics without those of training."""
    return {k: v for k, v in entry["metrics"].items() if k.startswith(("val/", "test/"))}


def test_a_checkpoint_alone_gives_the_numbers_of_its_run_bit_for_bit(finished, data_dir, tmp_path):
    checkpoint, entry = finished
    alone = tmp_path / "elsewhere.ckpt"
    alone.write_bytes(checkpoint.read_bytes())
    assert len(of_splits(entry)) == 14
    assert evaluate(config(alone, data_dir)).metrics == of_splits(entry)


class OwnNet(losslab.models.MLP):
    """A user's own."""


def test_a_network_of_ones_own_is_evaluated_too(tmp_path, data_dir, tiny):
    own = f"model._target_={__name__}.OwnNet"
    entry = train(compose(*tiny, own, "logger=none", "callback=[checkpoint]", folder=tmp_path))
    assert evaluate(config(tmp_path / "checkpoints" / "best.ckpt", data_dir)).metrics == of_splits(
        entry
    )


def test_a_module_of_lightnings_own_kind_is_evaluated_by_the_names_that_it_logs(
    tmp_path, data_dir, tiny
):
    own = ["module=plain", "module._target_=tests.level_one.Deep", "callback=[checkpoint]"]
    entry = train(compose(*tiny, *own, "logger=none", folder=tmp_path))
    assert of_splits(entry).keys() == {"val/loss", "test/loss"}
    assert evaluate(config(tmp_path / "checkpoints" / "best.ckpt", data_dir)).metrics == of_splits(
        entry
    )


def test_numbers_are_shown_as_their_measures_are():
    metrics = {
        f"{split}/{name}": float(torch.tensor(value))
        for split, values in (("val", (0.9744, 0.040752217, 5000)), ("test", (1.0, 0.5, 10000)))
        for name, value in zip(("accuracy", "brier", "samples"), values, strict=True)
    }
    assert Evaluation("train/loss=mse, best.ckpt", MEASURES, metrics).terminal().splitlines() == [
        "train/loss=mse, best.ckpt",
        "",
        "             validation     test",
        "--------------------------------",
        "accuracy         97.44%  100.00%",
        "Brier score      0.0408   0.5000",
        "samples            5000    10000",
    ]
    alone = Evaluation("a.ckpt", (), {"test/f1": 0.123456}).terminal()  # without validation
    assert alone.splitlines()[-1].split() == ["f1", "0.1235"]


def test_the_script_prints_the_table_and_leaves_nothing_behind(
    finished, data_dir, tmp_path, monkeypatch, capsys
):
    checkpoint, entry = finished
    arguments = [f"checkpoint={checkpoint}", f"data_dir={data_dir}", "trainer=cpu"]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [SCRIPT, *arguments])
    runpy.run_path(SCRIPT, run_name="__main__")
    printed = capsys.readouterr()
    assert printed.err == ""
    assert printed.out.startswith(f"{checkpoint.parents[2].name}/loss=cross_entropy,lr=0.5,seed=0")
    accuracy = 100 * entry["metrics"]["test/accuracy"]
    assert f"{accuracy:.2f}%" in printed.out
    assert max(map(len, printed.out.splitlines())) <= 80
    assert list(tmp_path.iterdir()) == []


def test_a_checkpoint_that_asks_for_more_threads_than_a_machine_has_is_refused(
    finished, data_dir, tmp_path
):
    content = torch.load(finished[0], weights_only=True)
    content["hyper_parameters"]["config"]["threads"] = 1_000_000
    torch.save(content, tmp_path / "greedy.ckpt")
    with pytest.raises(ValueError, match="expected threads to be a whole number of 1 to"):
        evaluate(config(tmp_path / "greedy.ckpt", data_dir))


def test_no_checkpoint_says_what_to_give(data_dir):
    with pytest.raises(ValueError, match=r"expected checkpoint=….*best\.ckpt"):
        evaluate(config("???", data_dir))


def test_several_checkpoints_are_refused(data_dir):
    cfg = config("one.ckpt", data_dir)
    cfg.checkpoint = ["one.ckpt", "two.ckpt"]
    with pytest.raises(ValueError, match="expected one checkpoint, got 2"):
        evaluate(cfg)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda content: content[: len(content) // 2], "truncated, or no checkpoint"),
        (lambda content: b"hello", "truncated, or no checkpoint"),
        (lambda content: b"", "truncated, or no checkpoint"),
    ],
    ids=["truncated", "no checkpoint", "empty"],
)
def test_a_file_that_is_no_checkpoint_is_named(finished, data_dir, tmp_path, damage, message):
    path = tmp_path / "damaged.ckpt"
    path.write_bytes(damage(finished[0].read_bytes()))
    with pytest.raises(ValueError, match=rf"damaged\.ckpt.*{message}"):
        evaluate(config(path, data_dir))


def test_a_missing_checkpoint_is_named(data_dir, tmp_path):
    with pytest.raises(ValueError, match=r"at .*none\.ckpt, got no such file"):
        evaluate(config(tmp_path / "none.ckpt", data_dir))


def test_a_folder_is_no_checkpoint(data_dir, tmp_path):
    with pytest.raises(ValueError, match=r"a checkpoint, got a folder, .*: name a file in it"):
        evaluate(config(tmp_path, data_dir))


def test_a_checkpoint_of_another_program_is_refused(data_dir, tmp_path):
    path = tmp_path / "foreign.ckpt"
    torch.save({"state_dict": {"weight": torch.zeros(3)}}, path)
    with pytest.raises(ValueError, match=r"another program's"):
        evaluate(config(path, data_dir))


@pytest.fixture
def altered(finished, tmp_path):
    """Writes the checkpoint anew, with a part of its configuration replaced."""

    def write(**parts):
        content = torch.load(finished[0], weights_only=True)
        content["hyper_parameters"]["config"] |= parts
        torch.save(content, tmp_path / "received.ckpt")
        return tmp_path / "received.ckpt"

    return write


@pytest.mark.long
@pytest.mark.parametrize("place", ["module", "model", "loss", "data"])
def test_a_received_checkpoint_calls_nothing_that_it_names(
    finished, altered, data_dir, tmp_path, place
):
    sound = torch.load(finished[0], weights_only=True)["hyper_parameters"]["config"][place]
    found = attacks(tmp_path)
    for node in [*found.values(), *nested(sound, found["function"])]:
        cfg = config(altered(**{place: node}), data_dir)
        with pytest.raises(ValueError, match=rf"(expected|cannot import) {place}"):
            evaluate(cfg)
        assert not (tmp_path / CALLED).exists(), node


def test_what_only_training_needs_is_not_built(finished, altered, data_dir, tmp_path):
    for attack in attacks(tmp_path).values():
        parts = {place: attack for place in ("optimizer", "scheduler", "trainer")}
        received = altered(**parts, callback={"a": attack}, logger={"a": attack})
        assert evaluate(config(received, data_dir)).metrics == of_splits(finished[1])
    assert not (tmp_path / CALLED).exists()


def test_a_received_checkpoint_reads_no_environment(altered, data_dir, monkeypatch):
    monkeypatch.setenv(SECRET, "hidden")
    for text in RESOLVED:
        with pytest.raises(ValueError, match=r"as plain text or with \$\{run\.folder\}") as raised:
            evaluate(config(altered(name=text), data_dir))
        assert "hidden" not in str(raised.value)


def test_the_script_tells_what_it_does_not_run_in_one_sentence(
    altered, tmp_path, monkeypatch, capsys
):
    received = altered(model=attacks(tmp_path)["function"])
    before = sorted(tmp_path.iterdir())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [SCRIPT, f"checkpoint={received}", "trainer=cpu"])
    with pytest.raises(SystemExit) as raised:
        runpy.run_path(SCRIPT, run_name="__main__")
    assert "expected model._target_ to name a class derived from torch.nn" in str(raised.value.code)
    assert "\n" not in str(raised.value.code)
    assert capsys.readouterr().out == ""
    assert sorted(tmp_path.iterdir()) == before


def test_data_are_not_fetched_to_where_a_file_says(altered, finished, data_dir, tmp_path):
    node = torch.load(finished[0], weights_only=True)["hyper_parameters"]["config"]["data"]
    received = altered(data={**node, "root": str(tmp_path / "new"), "download": True})
    cfg = config(received, data_dir)
    cfg.data_dir = None
    with pytest.raises(ValueError, match=r"expected the run's data in .*new, got no such folder"):
        evaluate(cfg)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("says", [{"download": True}, {}], ids=["on", "unsaid"])
def test_nor_to_a_folder_that_is_there(altered, finished, data_dir, tmp_path, monkeypatch, says):
    fetched = []
    routes = "runlab.extras.classification.download._fetch_by_any_route"
    monkeypatch.setattr(routes, lambda *arguments: fetched.append(arguments))
    (tmp_path / "there").mkdir()
    node = torch.load(finished[0], weights_only=True)["hyper_parameters"]["config"]["data"]
    node = {key: value for key, value in node.items() if key not in ("download", "verify")}
    cfg = config(altered(data={**node, "root": str(tmp_path / "there"), **says}), data_dir)
    cfg.data_dir = None
    with pytest.raises(ValueError, match=r"no place but one that you name by data_dir=… "):
        evaluate(cfg)
    assert fetched == []
    assert list((tmp_path / "there").iterdir()) == []
    cfg.data_dir = str(tmp_path / "mine")
    with pytest.raises((ValueError, OSError), match="mine"):  # as nothing has come
        evaluate(cfg)
    assert len(fetched) == 1


@pytest.mark.parametrize("place", ["module", "model", "loss", "data", "trainer", "threads"])
def test_a_checkpoint_whose_configuration_lacks_something_is_one_sentence(
    altered, finished, data_dir, tmp_path, place
):
    with pytest.raises(ValueError, match=rf"expected {place} (by its keys|to be a whole number)"):
        evaluate(config(altered(**{place: "x"}), data_dir))
    content = torch.load(finished[0], weights_only=True)
    del content["hyper_parameters"]["config"][place]
    torch.save(content, tmp_path / "lacking.ckpt")
    with pytest.raises(ValueError, match=r"lacking\.ckpt"):
        evaluate(config(tmp_path / "lacking.ckpt", data_dir))
    content["hyper_parameters"]["config"] = 5
    torch.save(content, tmp_path / "odd.ckpt")
    with pytest.raises(ValueError, match=r"odd\.ckpt: expected a configuration by its keys, got 5"):
        evaluate(config(tmp_path / "odd.ckpt", data_dir))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_refused(finished, data_dir):
    with pytest.raises(ValueError, match=r"accelerator to be one of .*'gpu', which this machine l"):
        evaluate(config(finished[0], data_dir, accelerator="gpu"))


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        ("checkpoint=logs/loss=mse,lr=0.1/b.ckpt", "checkpoint='logs/loss=mse,lr=0.1/b.ckpt'"),
        ("images=[a b.png, é.png]", "images=['a b.png','é.png']"),
        ("images=it's.png", "images='it\\'s.png'"),
        ("images='quoted.png'", "images='quoted.png'"),
        ('images=["a,b.png"]', 'images=["a,b.png"]'),
        ("checkpoint=", "checkpoint="),
        ("trainer=cpu", "trainer=cpu"),
        ("--help", "--help"),
    ],
)
def test_paths_reach_hydra_as_they_were_typed(argument, expected):
    assert quoted([argument], ["checkpoint", "images"]) == [expected]
