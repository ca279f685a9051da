"""What a received configuration may name, and that nothing else is called."""

import ast
import datetime
import sys

import pytest
import torch
from torch import nn

import losslab
import losslab.schedulers
from runlab import configurable
from runlab.config import received, targets
from runlab.config.kinds import annotations_of, check_kind
from runlab.runs.lifecycle import resolved_config
from tests.attacks import CALLED, RESOLVED, attacks, nested
from tests.compose import compose
from tests.test_structure import MODULES

HERE = "tests.config.test_targets"
RELU = {"_target_": "torch.nn.ReLU"}


class Same(nn.Conv2d):
    """With the parameters that it inherits, and no `__init__` of its own."""


class Net(nn.Module):
    """A user's own, anywhere importable."""

    def __init__(self, part: object = None, **others: object) -> None:
        super().__init__()
        self.part = part


@configurable
def make_net() -> nn.Module:
    return Net()


@configurable
def make_text() -> str:
    return "no network"


def unmarked() -> nn.Module:
    raise AssertionError("called")


@pytest.fixture
def config():
    return resolved_config(compose())


@pytest.mark.parametrize("place", [*targets.BASES, "callback.best", "logger.tensorboard"])
def test_no_place_takes_what_is_not_of_its_base(config, place, tmp_path):
    group, _, name = place.partition(".")
    for what, attack in attacks(tmp_path).items():
        kept = config[group] if isinstance(config[group], dict) else {}
        for node in [attack, *nested(kept.get(name, kept), attack)]:
            changed = {**config, group: {**kept, name: node} if name else node}
            with pytest.raises(ValueError, match=r"^(expected|cannot import) .+"):
                received.check(changed, runs=True)
            with pytest.raises(ValueError, match=r"^(expected|cannot import) .+"):
                targets.build(group, changed)
            assert not (tmp_path / CALLED).exists(), what


@pytest.mark.parametrize(
    ("node", "kind"),
    [
        ({"_target_": f"{HERE}.Net"}, Net),
        ({"_target_": f"{HERE}.make_net"}, Net),
        ({"_target_": f"{HERE}.Net", "part": RELU}, Net),
        ({"_target_": f"{HERE}.Net", "part": [{"layers": [RELU]}]}, Net),
        ({"_target_": f"{HERE}.Net", "part": {"_target_": "torch.tensor", "data": [1.0]}}, Net),
        ({"_target_": "torch.nn.Sequential", "_args_": [RELU, RELU]}, nn.Sequential),
        ({"_target_": "torchvision.models.squeezenet1_1"}, nn.Module),
    ],
)
def test_what_is_of_a_places_base_is_built(node, kind):
    assert isinstance(targets.build("model", {"model": node}), kind)


def test_parts_that_belong_to_others_may_be_named():
    for name in (
        *("torchvision.transforms.ToTensor", "torchvision.transforms.v2.RandomCrop"),
        *("torch.nn.functional.relu", "datetime.timedelta", "torchmetrics.MeanMetric"),
        *("lightning.pytorch.profilers.SimpleProfiler", "lightning.pytorch.strategies.DDPStrategy"),
        *("lightning.pytorch.plugins.MixedPrecision", "losslab.schedulers.cosine"),
    ):
        assert targets.find("part", name, *targets.PARTS)
    assert targets.find("part", "datetime.timedelta") is datetime.timedelta


def test_strictly_no_functions_of_libraries_are_taken(monkeypatch):
    def find(name, *bases):
        return targets.find("part", name, *bases, strictly=True)

    for name in ("torchvision.models.resnet18", "torch.nn.functional.relu", "torch.tensor"):
        with pytest.raises(ValueError, match=r"to name a function that is @configurable, got torc"):
            find(name)
        with pytest.raises(ValueError, match=r"to name a class derived from Module, got torch"):
            find(name, nn.Module)
    with pytest.raises(ValueError, match=r"to name a class derived from Module, got tests"):
        find(f"{HERE}.make_net", nn.Module)
    assert find(f"{HERE}.make_net") is make_net
    assert find(f"{HERE}.Net", nn.Module) is Net
    monkeypatch.setenv(targets.TRUST, "torch.nn.functional.relu")
    assert find("torch.nn.functional.relu") is nn.functional.relu


def test_the_sentence_says_what_was_expected_and_who_may_extend_it(config):
    config["optimizer"] = {"_target_": "shutil.copy", "src": "a", "dst": "b"}
    with pytest.raises(ValueError, match="shutil") as raised:
        received.check(config, runs=True)
    assert str(raised.value) == (
        "expected optimizer._target_ to name a class derived from torch.optim.Optimizer, or a "
        "function that is @configurable, got shutil.copy (of Python's own library): a file from "
        "elsewhere calls nothing else; if you know what it does, set RUNLAB_TRUST=shutil.copy"
    )


def test_a_module_that_is_imported_is_not_one_of_pythons_own():
    assert "antigravity" not in sys.modules
    with pytest.raises(ValueError, match=r"antigravity\.webbrowser .of Python's own library"):
        targets.find("model", "antigravity.webbrowser", nn.Module)
    assert "antigravity" not in sys.modules  # it would open a browser


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("num_nodes", 4, "trainer.num_nodes=1"),
        ("devices", [0] * 100_000, "the number of trainer.devices"),
    ],
)
def test_a_run_from_elsewhere_waits_for_no_other_machine(config, key, value, expected):
    config["trainer"] = {**config["trainer"], key: value}
    with pytest.raises(ValueError, match=f"^expected {expected}"):
        received.check(config, runs=True)


@pytest.mark.parametrize("place", ["comparison.arm_styles.a", "watchers", "surprise", "name"])
def test_nothing_is_imported_that_no_place_builds(config, place):
    node = {"_target_": "antigravity.fly"}
    first, *others = place.split(".")
    for each in reversed(others):
        node = {each: node}
    config[first] = [[node]] if first == "watchers" else node
    with pytest.raises(ValueError, match=rf"^expected no _target_ in {first}.* got 'antigravity"):
        received.check(config, runs=True)
    assert "antigravity" not in sys.modules  # it would open a browser


@pytest.mark.parametrize(
    ("place", "value"),
    [
        *((place, "x") for place in targets.BASES),
        *((place, None) for place in ("module", "data", "model", "loss", "optimizer", "trainer")),
        ("callback", [1]),
        ("logger", 5),
        ("callback", {"a": None}),
        ("callback", {"a": 5}),
    ],
)
def test_a_part_that_is_missing_or_odd_is_one_sentence(config, place, value):
    for runs in (True, False):
        with pytest.raises(
            ValueError, match=rf"^expected {place}(\.a)? by its keys, with a _targe"
        ):
            received.check({**config, place: value}, runs=runs)
    if value is None and place in received.REQUIRED:
        del config[place]
        with pytest.raises(ValueError, match=rf"^expected {place} by its keys, .* got a NoneType"):
            received.check(config, runs=False)


@pytest.mark.parametrize("threads", [None, "x", 0, 1e3, 1_000_000])
def test_the_threads_are_a_number_that_a_machine_can_start(config, threads):
    with pytest.raises(ValueError, match=r"^expected threads to be a whole number of 1 to"):
        received.check({**config, "threads": threads}, runs=False)
    del config["threads"]
    with pytest.raises(ValueError, match=r"^expected threads to be .* got None"):
        received.check(config, runs=False)


def test_the_user_extends_what_may_be_named_and_no_more(monkeypatch):
    def build(name):
        return targets.build("model", {"model": {"_target_": name}})

    monkeypatch.setattr(f"{HERE}.unmarked", lambda: Net())
    with pytest.raises(ValueError, match=r"^expected model\._target_ to name"):
        build(f"{HERE}.unmarked")
    monkeypatch.setenv(targets.TRUST, f"somewhere.else, {HERE}")
    assert isinstance(build(f"{HERE}.unmarked"), Net)
    with pytest.raises(ValueError, match=r"^expected model\._target_ to name"):
        build(f"{HERE}.torch.get_default_dtype")  # of another module, by a trusted name
    monkeypatch.setenv(targets.TRUST, f"{HERE}.torch.get_default_dtype")
    with pytest.raises(ValueError, match=r"expected model to be a torch\.nn\.Module, got a dtype"):
        build(f"{HERE}.torch.get_default_dtype")


@pytest.mark.parametrize(
    ("node", "key"),
    [
        ({"_target_": "torchvision.models.resnet18", "weights": "DEFAULT"}, "weights"),
        (
            {"_target_": "torchvision.models.get_model", "name": "resnet18", "weights": "x"},
            "weights",
        ),
        # these do so unless they are told not to
        ({"_target_": "torchvision.models.segmentation.fcn_resnet50"}, "weights_backbone"),
        ({"_target_": "torchvision.models.get_model", "name": "fcn_resnet50"}, "weights_backbone"),
    ],
)
def test_weights_of_a_server_are_fetched_for_nobody_else(config, node, key, monkeypatch):
    fetched = []
    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", fetched.append)
    for inside in (node, {"_target_": "torch.nn.Sequential", "_args_": [RELU, node]}):
        config["model"] = inside
        with pytest.raises(
            ValueError, match=rf"^expected model.*\.{key}=null, got .* RUNLAB_TRUST=t"
        ):
            received.check(config, runs=True)
        if "resnet18" in str(node):  # the others take seconds
            assert isinstance(targets.build("model", config), nn.Module)  # for a checkpoint's
    assert fetched == []
    monkeypatch.setenv(targets.TRUST, "torchvision.models")
    received.check(config, runs=True)


def test_a_functions_result_is_looked_at():
    with pytest.raises(ValueError, match=r"expected model to be a torch\.nn\.Module, got a str"):
        targets.build("model", {"model": {"_target_": f"{HERE}.make_text"}})
    with pytest.raises(ValueError, match=r"expected model to be a torch.nn.Module, got a "):
        targets.build("model", {"model": {**RELU, "_partial_": True}})


def test_what_cannot_be_built_is_one_sentence():
    with pytest.raises(ValueError, match=r"^cannot build model: .*argument 'inplac'$"):
        targets.build("model", {"model": {**RELU, "inplac": True}})
    with pytest.raises(ValueError, match=r"^cannot import model\._target_=losslab\.models\.No"):
        targets.build("model", {"model": {"_target_": "losslab.models.Nothing"}})


@pytest.mark.parametrize("text", RESOLVED)
def test_nothing_but_the_runs_own_place_is_resolved(config, text):
    for changed in (
        {**config, "watchers": [text]},
        {**config, "model": {**config["model"], "widths": [[text]]}},
        {**config, "comparison": {text: 1}},
        {**config, text: 1},
    ):
        for runs in (True, False):
            with pytest.raises(ValueError, match=r"^expected .+ as plain text or with \$\{run\.fo"):
                received.check(changed, runs=runs)


def test_without_a_run_its_place_is_not_resolved_either():
    for text in ("${run.folder}/x", "${run.name}"):
        with pytest.raises(ValueError, match=r"expected model\.part without \$\{run\.…\}"):
            targets.build("model", {"model": {"_target_": f"{HERE}.Net", "part": text}})


def test_only_plain_values_are_taken_and_no_more_levels_than_a_person_writes(config):
    deep: list = []
    for _ in range(5_000):
        deep = [deep]
    for value in (torch.zeros(1), {1: 2}, {1, 2}, deep):
        with pytest.raises(ValueError, match=r"^expected (plain values in|at most 50 levels)"):
            received.check({**config, "watchers": value}, runs=False)
    with pytest.raises(ValueError, match="expected a configuration by its keys, got a list"):
        received.check([], runs=False)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("callback.best.dirpath", "/elsewhere"),
        ("callback.best.dirpath", "checkpoints"),
        ("callback.best.dirpath", "${run.folder}/../other"),
        ("callback.best.dirpath", "${run.folder}-other"),
        ("callback.best.dirpath", "~/checkpoints"),
        ("callback.best.filename", "../best"),
        ("callback.best.filename", "/elsewhere/best"),
        ("callback.curves.folder", "curves"),
        ("logger.tensorboard.save_dir", "."),
        ("logger.tensorboard.name", "/tmp"),
        ("trainer.default_root_dir", "."),
        ("trainer.profiler.dirpath", "profiles"),
        ("trainer.plugins", [{"path": "a"}]),
    ],
)
def test_a_run_that_is_trained_again_writes_into_its_own_folder_alone(config, key, value):
    *outer, last = key.split(".")
    node = config
    for each in outer:
        node = node.setdefault(each, {})
    node[last] = value
    if key.startswith("trainer.profiler"):
        node["_target_"] = "lightning.pytorch.profilers.SimpleProfiler"
    with pytest.raises(ValueError, match=r"^expected \S+ in the run's own folder, \$\{run\.folde"):
        received.check(config, runs=True)


def test_the_user_names_another_place_where_it_may_write(config, monkeypatch):
    config["callback"]["best"]["dirpath"] = "/scratch/checkpoints"
    monkeypatch.setenv(targets.TRUST, "/scratch/")
    received.check(config, runs=True)
    config["callback"]["best"]["dirpath"] = "/scratch/../checkpoints"
    with pytest.raises(ValueError, match=r"callback\.best\.dirpath in the run's own folder"):
        received.check(config, runs=True)


@pytest.mark.parametrize("key", ["data", "model", "logger"])
def test_no_address_is_taken(config, key, monkeypatch):
    node = config[key] if key != "logger" else config["logger"]["tensorboard"]
    node["mirror"] = "https://example.org/data"
    with pytest.raises(ValueError, match=r"expected no address in .*\.mirror"):
        received.check(config, runs=True)
    monkeypatch.setenv(targets.TRUST, "https://example.org")
    received.check(config, runs=True)


def test_a_module_without_an_optimizer_says_so_if_it_is_to_train():
    loss = losslab.losses.CrossEntropy()
    module = losslab.Classifier(Net(), loss, optimizer=None, num_classes=10)
    with pytest.raises(ValueError, match="expected a module with an optimizer to train"):
        module.configure_optimizers()


BUILDERS = {
    "runlab.config.targets",  # what was received
    "runlab.components",  # a run's own configuration, or one that `to_train_again` has looked at
    "runlab.optimizers",  # likewise
    "runlab.schedules",  # likewise
    "runlab.extras.benchmark.data",
    "runlab.extras.benchmark.peak_memory",
}
LOOKED_UP = {
    "runlab.config.targets",
    "runlab.config.messages",
    "runlab.measure",  # in a configuration that is to be trained, or whose targets were looked at
    "runlab.extras.benchmark.data",
    "runlab.extras.benchmark.startup",  # names of its own
    "runlab.cli.command",  # the table of commands
    "runlab.cli.completion",  # likewise
    "runlab",
    "losslab",
}


def test_nothing_else_builds_or_looks_up_what_a_configuration_names():
    """A new place that does has to say here whose configuration it is."""
    building = {"instantiate", "call"}
    looking = {"get_class", "get_method", "get_static_method", "get_object", "import_module"}
    looking |= {"resolve_name"}
    builds, looks = set(), set()
    for name, path in MODULES.items():
        for node in ast.walk(ast.parse(path.read_text())):
            words = set()
            if isinstance(node, ast.ImportFrom) and node.module in ("hydra.utils", "hydra"):
                words = {each.name for each in node.names}
            elif isinstance(node, ast.Attribute):
                words = {node.attr} - {"call"}
            elif isinstance(node, ast.Name):
                words = {node.id} - {"call"}
            builds |= {name} if words & building else set()
            looks |= {name} if words & looking else set()
    assert builds == BUILDERS
    assert looks == LOOKED_UP


def test_inherited_parameters_are_checked_by_their_own_annotations():
    check_kind("model.kernel_size", 3, annotations_of(Same)["kernel_size"])
    with pytest.raises(ValueError, match="in_channels to be a whole number"):
        check_kind("model.in_channels", "a", annotations_of(Same)["in_channels"])
