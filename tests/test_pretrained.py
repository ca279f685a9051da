"""Initial weights from a file, and what a run then is."""

import pytest
import torch
from torch import nn

from runlab.analysis.arms import name_arms
from runlab.config.axes import Axes
from runlab.config.fingerprint import fingerprint
from runlab.pretrained import load_pretrained
from runlab.runs import checkpoint
from runlab.runs.lifecycle import resolved_config
from runlab.train import train
from tests.compose import compose


class Net(nn.Module):
    def __init__(self, classes: int = 2) -> None:
        super().__init__()
        self.backbone = nn.Linear(4, 3)
        self.head = nn.Linear(3, classes)


@pytest.fixture
def file(tmp_path):
    def save(content) -> str:
        path = tmp_path / "weights.pt"
        torch.save(content, path)
        return str(path)

    return save


def test_a_network_gets_the_weights_of_a_file(file):
    given, network = Net(), Net()
    load_pretrained(network, file(given.state_dict()))
    assert torch.equal(network.head.weight, given.head.weight)


def test_a_checkpoint_of_a_run_gives_those_of_its_network(file):
    given, network = Net(), Net()
    weights = {f"network.{name}": value for name, value in given.state_dict().items()}
    content = {"state_dict": weights | {"losses.val.weight": torch.ones(())},
               "hyper_parameters": {}}  # fmt: skip
    load_pretrained(network, file(content))
    assert torch.equal(network.head.weight, given.head.weight)


def test_a_head_of_other_classes_is_left_as_it_was_built(file):
    given, network = Net(5), Net(2)
    before = network.head.weight.clone()
    load_pretrained(network, file(given.state_dict()), leave_out=["head.*"])
    assert torch.equal(network.backbone.weight, given.backbone.weight)
    assert torch.equal(network.head.weight, before)


def test_a_part_of_a_network_gets_them(file):
    given, network = nn.Linear(4, 3), nn.Sequential(nn.ReLU(), nn.Linear(4, 3))
    load_pretrained(network, file(given.state_dict()), into="1")
    assert torch.equal(network[1].weight, given.weight)


@pytest.mark.parametrize(
    ("content", "options", "told"),
    [
        (Net(5).state_dict(), {}, r"but head\.bias of \[5\] in place of \[2\], head\.weight"),
        ({"other": torch.ones(1)}, {}, r"no backbone\.bias, .*; besides other: pretrained\.leave"),
        ("text", {}, "expected the weights of a network in .*, got something else"),
        ({}, {"into": "neck"}, r"name a part of the network \(backbone, head\), got neck"),
    ],
)
def test_what_does_not_fit_is_told(file, content, options, told):
    network = Net()
    before = network.backbone.weight.clone()
    with pytest.raises(ValueError, match=told):
        load_pretrained(network, file(content), **options)
    assert torch.equal(network.backbone.weight, before)


def test_nothing_is_executed_of_a_file(file):
    with pytest.raises(ValueError, match="expected a checkpoint in"):
        load_pretrained(Net(), file(Net()))  # a pickled object


@pytest.mark.long
def test_a_run_is_known_by_the_weights_and_not_by_where_they_lie(file, tmp_path):
    path = file(Net().state_dict())
    (tmp_path / "moved.pt").write_bytes((tmp_path / "weights.pt").read_bytes())

    def config(*overrides):
        return resolved_config(compose(*overrides))

    first = config(f"pretrained.file={path}")
    assert len(first["pretrained"]["sha256"]) == 64
    assert fingerprint(first) == fingerprint(config(f"pretrained.file={tmp_path / 'moved.pt'}"))
    file(Net().state_dict())  # others
    assert fingerprint(first) != fingerprint(config(f"pretrained.file={path}"))
    assert fingerprint(first) != fingerprint(config())
    known = first["pretrained"]["sha256"]
    with pytest.raises(ValueError, match=f"expected weights of SHA-256 {known}"):
        config(f"pretrained.file={path}", f"pretrained.sha256={known}")
    with pytest.raises(ValueError, match=r"a file of weights in pretrained\.file, got no"):
        config("pretrained.file=nowhere.pt")


def test_a_run_is_named_by_its_weights_and_one_without_as_before(tmp_path):
    (tmp_path / "weights.pt").write_bytes(b"1")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "weights.pt").write_bytes(b"2")

    def name(file, *others):
        return compose(f"pretrained.file={file}", "loss=mse", *others).run.name

    plain = "loss=mse,lr=0.1,seed=0"
    assert name("null") == compose("loss=mse").run.name == plain
    assert name(tmp_path / "weights.pt") == f"{plain},file=weights-6b86b273"
    assert name(tmp_path / "other" / "weights.pt") == f"{plain},file=weights-d4735e3a"
    assert name(tmp_path / "none.pt") == f"{plain},file=none"
    arm = "comparison.arm=pretrained.file"
    assert name(tmp_path / "weights.pt", arm) == "file=weights-6b86b273,lr=0.1,seed=0,loss=mse"


def test_arms_tell_the_files_by_their_names_and_contents():
    def arms(key, *given):
        configs = [{"pretrained": each, "seed": 0, "loss": {}} for each in given]
        records = [{"config": each, "choices": {"loss": "mse"}} for each in configs]
        return name_arms(records, Axes(arm=key))["arm"].tolist()

    one = {"file": "/x/a.ckpt", "into": None, "leave_out": [], "sha256": "1" * 64}
    other = {**one, "sha256": "2" * 64}
    assert arms("pretrained.file", one, None) == ["file=a-11111111", "file=null"]
    both = ["mse, file=a-11111111", "mse, file=a-22222222", "mse, file=null"]
    assert arms("loss", one, other, None) == both
    assert arms("loss", one, {**one, "file": "/y/a.ckpt"}) == ["mse", "mse"]
    assert arms("loss", None, {**one, "file": None}) == ["mse", "mse"]


@pytest.mark.long
def test_a_run_starts_from_the_weights_and_is_loaded_without_the_file(tmp_path, tiny):
    short = [*tiny, "model=linear", "trainer.max_epochs=1"]
    checkpoints = [tmp_path / name / "checkpoints" / "last.ckpt" for name in ("first", "second")]
    train(compose(*short, folder=tmp_path / "first"))
    frozen = ["optimizer.lr=0", "seed=1", f"pretrained.file={checkpoints[0]}"]
    second = compose(*short, *frozen, folder=tmp_path / "second")
    train(second)
    given, _ = checkpoint.load(checkpoints[0])
    checkpoints[0].unlink()
    trained, _ = checkpoint.load(checkpoints[1])
    assert torch.equal(trained.network.output.weight, given.network.output.weight)
    with pytest.raises(ValueError, match=r"a file of weights in pretrained\.file"):
        train(second)
